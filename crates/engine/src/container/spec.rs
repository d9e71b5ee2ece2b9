//! From a container's record to what the runtime is told, for each start.

use std::collections::BTreeMap;

use strata_runtime::Spec;
use strata_runtime::spec::{
    Capabilities, End, Mount, MountSource, NamedUser, Namespaces, Network, Process, Propagation, Rlimit, SharedMemory,
    Stdin, TerminalSize, User, VolumeMount,
};
use strata_types::ids::IdMaps;
use strata_types::mount::Access;

use crate::container::shared::Shared;
use crate::container::stop::PATIENCE_S;
use crate::container::{
    ContainerConfig, ContainerError, Document, HostConfig, Known, MountFrom, MountPoint, check, devices, etc_files,
    life, limits, logging, merge, security,
};
use crate::{Engine, Result, events, rootless};

impl Engine {
    /// Makes the runtime's specification of a container, and writes the files in `/etc` that it mounts.
    pub(crate) fn spec(&self, known: &Known) -> Result<Spec> {
        let Document { config, host, mounts, .. } = &known.document;
        let (nodes, device_rules) = devices::of(host)?;
        let (dir, beside_socket) = self.places_of_files(known.id());
        let places = etc_files::Places { dir: &dir, beside_socket: &beside_socket };
        let mut all = etc_files::write(&places, &known.document, self.host_gateway(&known.document)?)?;
        let mut points: Vec<&MountPoint> = mounts.iter().collect();
        // Outer before inner, as Docker mounts them.
        points.sort_by_key(|point| point.target.matches('/').count());
        for point in points {
            let mount = self.mount(point)?;
            all.retain(|present| present.target != mount.target);
            all.push(mount);
        }
        all.extend(self.secret_mounts(&known.document.secrets)?);
        let privileged = host.privileged;
        let users = known.document.user_namespace.as_ref();
        let (emulator, users) = self.emulation(known.document.platform.as_ref(), host, users)?;
        let paths = |list: &Option<Vec<String>>| if privileged { Vec::new() } else { list.clone().unwrap_or_default() };
        Ok(Spec {
            id: known.id().clone(),
            process: process(&known.document)?,
            when_done: self.when_done(known),
            is_step: false,
            hostname: (host.uts_mode != "host").then(|| config.hostname.clone()),
            domainname: (!config.domainname.is_empty()).then(|| config.domainname.clone()),
            rootfs: self.snapshots()?.plan_on(known.id(), &known.record.layers, Access::ReadWrite)?,
            read_only: host.readonly_rootfs,
            mounts: all,
            shared_memory: match host.ipc_mode.as_str() {
                "none" => SharedMemory::None,
                "host" => SharedMemory::Host,
                _ => SharedMemory::Own,
            },
            shm_size_bytes: host.shm_size,
            devices: nodes,
            namespaces: namespaces(host, self.network_of(known)?, self.shared(host)?, users.as_ref()),
            sysctls: sysctls(host, users.as_ref()),
            masked_paths: paths(&host.masked_paths),
            readonly_paths: paths(&host.readonly_paths),
            system_writable: privileged,
            limits: limits::of(host)?,
            device_rules,
            init: host.init.unwrap_or(false),
            runtime: check::runtime(&host.runtime)?,
            emulator,
            log: logging::of(known)?,
            restart: life::restart(&host.restart_policy),
            health: life::health(config),
            attributes: events::attributes(known),
            volumes: mounts.iter().filter_map(volume).collect(),
            end: end(config)?,
        })
    }

    /// What the shim executes when a `--rm` container has ended and its client may be gone.
    fn when_done(&self, known: &Known) -> Vec<String> {
        if !known.document.host.auto_remove {
            return Vec::new();
        }
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let (root, run_dir) = (path(&self.settings().root), path(&self.settings().run_dir));
        let words = ["--root", &root, "--run-dir", &run_dir, "reap-container", known.id().as_str()];
        words.map(str::to_owned).to_vec()
    }

    fn mount(&self, point: &MountPoint) -> Result<Mount> {
        let mut read_only = point.read_only;
        let source = match &point.source {
            MountFrom::Bind { path, propagation, recursive, writable_below } => {
                if !path.exists() {
                    return Err(ContainerError::BindSource(path.clone()).into());
                }
                let (recursive, writable_below) = (*recursive, *writable_below);
                let (path, propagation) = (path.clone(), word(propagation));
                MountSource::Bind { path, recursive, propagation, writable_below, subpath: None }
            }
            MountFrom::Volume { name, subpath, .. } => {
                let (source, never_written) = self.volume_source(name, subpath.as_deref())?;
                read_only |= never_written;
                source
            }
            MountFrom::Tmpfs { size_bytes, mode, options } => {
                MountSource::Tmpfs { size_bytes: *size_bytes, mode: *mode, options: options.clone() }
            }
            MountFrom::Image { layers, subpath, .. } => {
                MountSource::Plan { plan: self.snapshots()?.view(layers)?, subpath: subpath.clone() }
            }
        };
        let exec = !matches!(point.source, MountFrom::Tmpfs { .. });
        Ok(Mount { target: point.target.clone(), source, read_only, exec })
    }
}

/// How a container is asked to end, by its own wish.
fn end(config: &ContainerConfig) -> Result<End> {
    let seconds = config.run.stop_timeout.unwrap_or(PATIENCE_S);
    let patience_ms = u64::try_from(seconds).ok().map(|seconds| seconds.saturating_mul(1000));
    Ok(End { signal: check::stop_signal(&config.run.stop_signal)?, patience_ms })
}

/// What events say of a volume.
fn volume(point: &MountPoint) -> Option<VolumeMount> {
    let MountFrom::Volume { name, .. } = &point.source else { return None };
    Some(VolumeMount { name: name.clone(), target: point.target.clone(), read_only: point.read_only })
}

/// Checks what can be wrong with a specification before there is a container.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    devices::of(host)?;
    security::of(host)?;
    limits::of(host)?;
    logging::check(host)?;
    Ok(())
}

fn word(propagation: &str) -> Propagation {
    match propagation {
        "shared" | "rshared" => Propagation::Shared,
        "slave" | "rslave" => Propagation::Slave,
        _ => Propagation::Private,
    }
}

/// The container's first process.
fn process(document: &Document) -> Result<Process> {
    let Document { config, host, .. } = document;
    let run = &config.run;
    let security = security::of(host)?;
    let stdin = match (config.open_stdin, config.stdin_once) {
        (false, _) => Stdin::Empty,
        (true, true) => Stdin::Once,
        (true, false) => Stdin::Open,
    };
    let [rows, columns] = host.console_size;
    Ok(Process {
        args: document.words(),
        env: merge::environment(&config.hostname, config.tty, &run.env),
        cwd: if run.working_dir.is_empty() { String::from("/") } else { run.working_dir.clone() },
        user: User::default(),
        named_user: Some(NamedUser { user: run.user.clone(), groups: host.group_add.clone().unwrap_or_default() }),
        tty: config.tty,
        stdin,
        capabilities: Capabilities::docker(check::capabilities(host)?),
        seccomp: security.seccomp,
        no_new_privileges: security.no_new_privileges,
        label: security.label,
        rlimits: rlimits(host),
        oom_score_adj: i32::try_from(host.oom_score_adj).ok().filter(|adjustment| *adjustment != 0),
        terminal_size: (config.tty && rows > 0).then_some(TerminalSize { rows, columns }),
    })
}

fn rlimits(host: &HostConfig) -> Vec<Rlimit> {
    let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let of = |limits: &crate::container::Ulimit| Rlimit {
        name: limits.name.clone(),
        soft: limit(limits.soft),
        hard: limit(limits.hard),
    };
    host.resources.ulimits.iter().map(of).collect()
}

fn namespaces(host: &HostConfig, network: Network, shared: Shared, user: Option<&IdMaps>) -> Namespaces {
    let Shared { pid_of, ipc_of } = shared;
    Namespaces {
        network,
        pid: host.pid_mode != "host" && pid_of.is_none(),
        pid_of,
        ipc: host.ipc_mode != "host" && ipc_of.is_none(),
        ipc_of,
        uts: host.uts_mode != "host",
        user: user.cloned(),
    }
}

/// Kernel settings: those asked for, and what lets ordinary users of a container open low ports and ping without privileges, as
/// Docker does: programs cannot gain any.
fn sysctls(host: &HostConfig, user: Option<&IdMaps>) -> BTreeMap<String, String> {
    let mut all = host.sysctls.clone();
    if !matches!(host.network_mode.as_str(), "host" | "none") && !host.network_mode.starts_with("container:") {
        let last = user.and_then(|maps| maps.groups.first()).map(|range| range.size - 1);
        // The kernel takes no more.
        let last = last.or_else(rootless::last_group).unwrap_or(u32::MAX).min(i32::MAX as u32);
        for (name, value) in [
            ("net.ipv4.ip_unprivileged_port_start", String::from("0")),
            ("net.ipv4.ping_group_range", format!("0 {last}")),
        ] {
            all.entry(name.to_owned()).or_insert(value);
        }
    }
    all
}
