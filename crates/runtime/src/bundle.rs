//! A specification as other OCI runtimes read it: `config.json` (github.com/opencontainers/runtime-spec).

use std::path::Path;

use serde_json::{Map, Value, json};
use strata_sys::caps::CapSet;
use strata_sys::cgroup::{Cgroup, DeviceLimit, Layout};

use crate::spec::{
    Capabilities, DeviceRules, Label, Limits, MountSource, Network, Process, Propagation, SharedMemory, Spec, User,
};
use crate::{Error, seccomp};

/// Which version of the runtime specification is written.
const VERSION: &str = "1.0.2";
/// Where the container's control groups are, in every hierarchy: the same place as the native runtime's.
pub(crate) fn cgroups_path(spec: &Spec) -> String {
    let name = cgroup_name(spec);
    if name.starts_with('/') { name } else { format!("/strata/{name}") }
}

/// The name of its control groups here.
pub(crate) fn cgroup_name(spec: &Spec) -> String {
    Cgroup::name(spec.id.as_str(), &spec.limits)
}

/// As whom a process runs, found out in the container's root.
pub(crate) struct Identity {
    pub(crate) user: User,
    pub(crate) home: Option<String>,
}

/// The configuration of a container. `sources` says where each of `spec.mounts` that is not memory was put.
pub(crate) fn config(
    spec: &Spec,
    rootfs: &Path,
    sources: &[Option<std::path::PathBuf>],
    identity: &Identity,
) -> Result<Value, Error> {
    if spec.namespaces.user.is_some() {
        let why = "user namespaces are not offered with another runtime: leave out --userns or --runtime";
        return Err(Error::Unsupported(why.to_owned()));
    }
    if spec.init {
        let why = "a tiny init is not offered with another runtime: leave out --init or --runtime";
        return Err(Error::Unsupported(why.to_owned()));
    }
    let mut config = json!({
        "ociVersion": VERSION,
        "process": process(&spec.process, identity)?,
        "root": {"path": rootfs, "readonly": spec.read_only},
        "mounts": mounts(spec, sources),
        "linux": linux(spec)?,
    });
    if let (true, Some(name)) = (spec.namespaces.uts, &spec.hostname) {
        config["hostname"] = name.as_str().into();
    }
    if let (true, Some(name)) = (spec.namespaces.uts, &spec.domainname) {
        config["domainname"] = name.as_str().into();
    }
    Ok(config)
}

/// The description of a process, for a container's first one and for `exec --process`.
pub(crate) fn process(process: &Process, identity: &Identity) -> Result<Value, Error> {
    let mut env = process.env.clone();
    if let Some(home) = &identity.home
        && !env.iter().any(|line| line.starts_with("HOME="))
    {
        env.push(format!("HOME={home}"));
    }
    let Identity { user, .. } = identity;
    let limits = process.rlimits.iter().map(|limit| {
        let name = format!("RLIMIT_{}", limit.name.to_uppercase());
        json!({"type": name, "soft": limit.soft, "hard": limit.hard})
    });
    let mut document = json!({
        "terminal": process.tty,
        "user": {
            "uid": user.uid, "gid": user.gid, "additionalGids": user.groups, "umask": user.umask.unwrap_or(0o022),
        },
        "args": process.args,
        "env": env,
        "cwd": if process.cwd.is_empty() { "/" } else { process.cwd.as_str() },
        "capabilities": capabilities(&process.capabilities),
        "rlimits": limits.collect::<Vec<_>>(),
        "noNewPrivileges": process.no_new_privileges,
    });
    if let Some(adjustment) = process.oom_score_adj {
        document["oomScoreAdj"] = adjustment.into();
    }
    if let Some(size) = process.terminal_size {
        document["consoleSize"] = json!({"height": size.rows, "width": size.columns});
    }
    match &process.label {
        Some(Label::AppArmor(profile)) => document["apparmorProfile"] = profile.as_str().into(),
        Some(Label::SeLinux(label)) => document["selinuxLabel"] = label.as_str().into(),
        None => {}
    }
    Ok(document)
}

/// Only what this process may hand on; a runtime would refuse the rest.
fn capabilities(sets: &Capabilities) -> Value {
    let ours = strata_sys::caps::effective().unwrap_or(CapSet::ALL);
    let names = |set: CapSet| set.intersection(ours).iter().map(|one| one.name().to_owned()).collect::<Vec<_>>();
    json!({
        "bounding": names(sets.bounding), "effective": names(sets.effective), "permitted": names(sets.permitted),
        "inheritable": names(sets.inheritable), "ambient": names(sets.ambient),
    })
}

/// What the native runtime mounts by itself, and what the person mounts.
fn mounts(spec: &Spec, sources: &[Option<std::path::PathBuf>]) -> Vec<Value> {
    let shm = format!("size={}", spec.shm_size_bytes);
    let access = if spec.system_writable { "rw" } else { "ro" };
    let standing: [(&str, &str, &[&str]); 7] = [
        ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &shm]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        ("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    let replaced = |target: &str| spec.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == target);
    let has_none = |target: &str| target == "/dev/shm" && spec.shared_memory == SharedMemory::None;
    let is_there = |target: &str| !replaced(target) && !has_none(target);
    let standing = standing.iter().filter(|(target, ..)| is_there(target)).map(|(target, kind, options)| {
        if *target == "/dev/shm" && spec.shared_memory == SharedMemory::Host {
            return json!({"destination": target, "type": "bind", "source": target, "options": ["rbind", "rprivate"]});
        }
        let source = if *kind == "tmpfs" && target.ends_with("shm") { "shm" } else { kind };
        json!({"destination": target, "type": kind, "source": source, "options": options})
    });
    let mut theirs: Vec<_> = spec.mounts.iter().zip(sources).collect();
    theirs.sort_by_key(|(mount, _)| mount.target.split('/').filter(|part| !part.is_empty()).count());
    let theirs = theirs.into_iter().map(|(mount, source)| {
        let access = if mount.read_only { "ro" } else { "rw" };
        match (&mount.source, source) {
            (MountSource::Tmpfs { size_bytes, mode, options }, _) => {
                let mut all = vec![access.to_owned()];
                if !mount.exec {
                    all.extend(["nosuid", "nodev", "noexec"].map(str::to_owned));
                }
                all.extend(size_bytes.map(|size| format!("size={size}")));
                all.extend(mode.map(|mode| format!("mode={mode:o}")));
                all.extend(options.iter().cloned());
                json!({"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": all})
            }
            (MountSource::Bind { path, recursive, propagation, .. }, None) => {
                let bind = if *recursive { "rbind" } else { "bind" };
                let propagation = match propagation {
                    Propagation::Private => "rprivate",
                    Propagation::Slave => "rslave",
                    Propagation::Shared => "rshared",
                };
                let options = [bind, propagation, access];
                json!({"destination": mount.target, "type": "bind", "source": path, "options": options})
            }
            (_, source) => {
                let options = ["rbind", "rprivate", access];
                json!({"destination": mount.target, "type": "bind", "source": source, "options": options})
            }
        }
    });
    standing.chain(theirs).collect()
}

fn linux(spec: &Spec) -> Result<Value, Error> {
    let own = &spec.namespaces;
    let mut namespaces = vec![json!({"type": "mount"})];
    for (is_own, name) in [(own.pid, "pid"), (own.ipc, "ipc"), (own.uts, "uts")] {
        if is_own {
            namespaces.push(json!({"type": name}));
        }
    }
    match &own.network {
        // Networks are connected between `create` and `start`.
        Network::None | Network::Connected(_) => namespaces.push(json!({"type": "network"})),
        // Which namespace another container has is found out before.
        Network::Host | Network::Container(_) => {}
        Network::Join(path) => namespaces.push(json!({"type": "network", "path": path})),
    }
    if Layout::probe() == Layout::V2 {
        namespaces.push(json!({"type": "cgroup"}));
    }
    let devices = spec.devices.iter().map(|node| {
        json!({
            "path": node.path, "type": if node.block { "b" } else { "c" }, "major": node.major, "minor": node.minor,
            "fileMode": node.mode, "uid": node.uid, "gid": node.gid,
        })
    });
    let mut linux = json!({
        "namespaces": namespaces,
        "cgroupsPath": cgroups_path(spec),
        "devices": devices.collect::<Vec<_>>(),
        "resources": resources(&spec.limits, &spec.device_rules),
        "sysctl": spec.sysctls,
        "maskedPaths": spec.masked_paths,
        "readonlyPaths": spec.readonly_paths,
    });
    if let Some(seccomp) = seccomp::document(&spec.process)? {
        linux["seccomp"] = seccomp;
    }
    Ok(linux)
}

fn resources(limits: &Limits, rules: &DeviceRules) -> Value {
    let devices = match rules {
        DeviceRules::Everything => vec![json!({"allow": true, "access": "rwm"})],
        DeviceRules::Allow(rules) => {
            let rule = |rule: &crate::spec::DeviceRule| {
                let mut document = json!({
                    "allow": true, "type": if rule.block { "b" } else { "c" }, "access": rule.access,
                });
                for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
                    if let Some(number) = number {
                        document[name] = number.into();
                    }
                }
                document
            };
            // The devices that every container has, the runtime allows by itself.
            std::iter::once(json!({"allow": false, "access": "rwm"})).chain(rules.iter().map(rule)).collect()
        }
    };
    let mut document = json!({"devices": devices});
    let mut set = |group: &str, values: Vec<(&str, Option<Value>)>| {
        let set: Map<String, Value> =
            values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        if !set.is_empty() {
            document[group] = Value::Object(set);
        }
    };
    set(
        "memory",
        vec![
            ("limit", limits.memory_bytes.map(Value::from)),
            ("swap", limits.memory_swap_bytes.map(Value::from)),
            ("reservation", limits.memory_reservation_bytes.map(Value::from)),
            ("swappiness", limits.memory_swappiness.map(Value::from)),
            ("disableOOMKiller", limits.oom_kill_disable.then(|| Value::from(true))),
        ],
    );
    set(
        "cpu",
        vec![
            ("shares", limits.cpu_shares.map(Value::from)),
            ("quota", limits.cpu_quota_us.map(Value::from)),
            ("period", limits.cpu_period_us.map(Value::from)),
            ("realtimePeriod", limits.cpu_realtime_period_us.map(Value::from)),
            ("realtimeRuntime", limits.cpu_realtime_runtime_us.map(Value::from)),
            ("cpus", limits.cpuset_cpus.clone().map(Value::from)),
            ("mems", limits.cpuset_mems.clone().map(Value::from)),
        ],
    );
    set("pids", vec![("limit", limits.pids.map(Value::from))]);
    let throttle = |list: &[DeviceLimit], name: &str| {
        let one = |limit: &DeviceLimit| json!({"major": limit.major, "minor": limit.minor, name: limit.value});
        (!list.is_empty()).then(|| list.iter().map(one).collect::<Value>())
    };
    set(
        "blockIO",
        vec![
            ("weight", limits.blkio_weight.map(Value::from)),
            ("weightDevice", throttle(&limits.blkio_device_weights, "weight")),
            ("throttleReadBpsDevice", throttle(&limits.read_bytes_per_s, "rate")),
            ("throttleWriteBpsDevice", throttle(&limits.write_bytes_per_s, "rate")),
            ("throttleReadIOPSDevice", throttle(&limits.reads_per_s, "rate")),
            ("throttleWriteIOPSDevice", throttle(&limits.writes_per_s, "rate")),
        ],
    );
    document
}
