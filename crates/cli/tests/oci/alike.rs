//! What is seen inside is what crun shows on the same bundle.

use serde_json::{Value, json};
use strata_testkit::{host, need};

use crate::bundle::Lab;

macro_rules! lab {
    () => {{
        need!(host::root(), host::program("busybox"), host::program("crun"), host::program("ip"));
        let lab = Lab::start();
        lab.configure(&lab.config("true"));
        let tried = lab.crun("run --bundle b probe");
        if tried.code != 0 {
            return host::skipped(
                module_path!(),
                &format!("a host on which crun runs containers: {}", tried.err.trim()),
            );
        }
        lab
    }};
}

/// A configuration in which one thing is different.
fn with(lab: &Lab, script: &str, pointer: &str, value: Value) -> Value {
    let mut config = lab.config(script);
    let (above, name) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(above).unwrap()[name] = value;
    config
}

/// A configuration with one more mount.
fn mounted(lab: &Lab, script: &str, mount: Value) -> Value {
    let mut config = lab.config(script);
    config["mounts"].as_array_mut().unwrap().push(mount);
    config
}

#[test]
fn a_process_is_who_and_what_it_shall_be() {
    let lab = lab!();
    let user = json!({"uid": 1000, "gid": 1000, "umask": 63, "additionalGids": [5, 10]});
    let ran = lab.alike(&with(&lab, "id -u; id -g; id -G; umask; pwd; env | sort; exit 7", "/process/user", user));
    assert_eq!(ran.code, 7);
    let status = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/self/status; ulimit -n; hostname; ls -A /dev | grep -v core | sort";
    assert!(lab.alike(&lab.config(status)).out.contains("CapEff"));
    let mut other = with(&lab, status, "/process/noNewPrivileges", json!(true));
    other["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]);
    other["process"]["oomScoreAdj"] = json!(300);
    other["process"]["cwd"] = json!("/tmp");
    other["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    });
    other["linux"]["personality"] = json!({"domain": "LINUX32"});
    other["process"]["args"][2] = json!(format!("{status}; cat /proc/self/oom_score_adj; pwd; uname -m"));
    assert!(lab.alike(&other).out.contains("\n77\n"));
}

#[test]
fn mounts_are_those_of_the_bundle() {
    let lab = lab!();
    // Where it is, its options, and what it is, in the order of mounting.
    let table = "awk '{print $5, $6, $(NF-2)}' /proc/self/mountinfo | sed 1d";
    lab.machine.sh("mkdir -p d/below && echo text >d/file && ln -s file d/link").ok();
    let dir = lab.machine.dir().join("d").display().to_string();
    let bind = |options: &[&str]| json!({"destination": "/mnt/d", "type": "bind", "source": dir, "options": options});
    assert!(lab.alike(&lab.config(table)).out.contains("/dev/mqueue"));
    for options in [
        &["rbind", "ro"][..],
        &["bind", "nosuid", "nodev", "noexec", "rprivate"],
        &["rbind", "rw", "rslave", "noatime"],
        &["bind", "rshared", "nodiratime"],
        &["rbind", "rro"],
    ] {
        lab.alike(&mounted(&lab, &format!("{table}; cat /mnt/d/file; touch /mnt/d/x 2>&1; ls /mnt/d"), bind(options)));
        lab.machine.sh("rm -f d/x").ok();
    }
    let file =
        json!({"destination": "/etc/of/file", "type": "bind", "source": format!("{dir}/file"), "options": ["bind"]});
    lab.alike(&mounted(&lab, "cat /etc/of/file; rm -rf /etc/of 2>/dev/null; true", file));
    let memory =
        |options: &[&str]| json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options});
    lab.alike(&mounted(
        &lab,
        &format!("{table}; df -k /t | tail -n 1 | awk '{{print $2}}'"),
        memory(&["size=1m", "mode=700"]),
    ));
    let copied = json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]});
    lab.alike(&mounted(&lab, "cat /etc/passwd; touch /etc/here", copied));
    assert_eq!(lab.machine.sh("ls b/rootfs/etc/here").code, 2, "what was copied is a copy");
    lab.alike(&with(&lab, "touch /x 2>&1; echo $?", "/root/readonly", json!(true)));
}

#[test]
fn what_is_hidden_or_protected_is() {
    let lab = lab!();
    let script = "cat /proc/kcore | head -c 1 | wc -c; ls /sys/firmware; echo 1 2>&1 >/proc/sys/kernel/x; cat /etc/passwd; \
                  touch /home/x 2>&1; cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let mut config = lab.config(script);
    config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/sys/firmware", "/etc/passwd", "/nowhere"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/home", "/nowhere"]);
    config["linux"]["sysctl"] = json!({"kernel.msgmax": "1234", "net.ipv4.ip_unprivileged_port_start": "80"});
    let ran = lab.alike(&config);
    assert!(ran.out.contains("1234\n80\n") && ran.out.contains("Read-only file system"), "{ran:?}");
}

#[test]
fn devices_and_limits_are_those_of_the_bundle() {
    let lab = lab!();
    let script = "ls -ln /dev/fuse /dev/pipe | awk '{print $1, $3, $4, $5, $6}'; head -c 1 /dev/kmsg 2>&1; head -c 1 /dev/zero | wc -c";
    let mut config = lab.config(script);
    config["linux"]["devices"] = json!([
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 5, "gid": 6},
        {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o640},
    ]);
    config["linux"]["resources"] = json!({
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
        "memory": {"limit": 67_108_864, "reservation": 33_554_432}, "pids": {"limit": 55},
        "cpu": {"shares": 512, "quota": 20_000, "period": 50_000, "cpus": "0", "mems": "0"},
    });
    config["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    let files = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes pids/pids.max \
                 cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus; cat memory.max pids.max cpu.max";
    config["process"]["args"][2] = json!(format!("{script}; {{ {files}; }} 2>/dev/null; true"));
    let ran = lab.alike(&config);
    assert!(ran.out.contains("not permitted") && ran.out.contains("55\n"), "{ran:?}");
    assert_eq!(lab.groups(), "", "control groups are gone");
}

#[test]
fn system_calls_are_filtered_as_the_bundle_says() {
    let lab = lab!();
    let script = "mkdir /tmp/d 2>&1; hostname other 2>&1; chmod 777 /tmp && echo changed; chmod 755 /tmp 2>&1; grep Seccomp: /proc/self/status";
    for no_new_privileges in [false, true] {
        let mut config = with(&lab, script, "/process/noNewPrivileges", json!(no_new_privileges));
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
            "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
                {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"},
                {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 493, "op": "SCMP_CMP_EQ"}]},
                {"names": ["fchmodat"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 2, "value": 493, "op": "SCMP_CMP_EQ"}]},
            ],
        });
        let ran = lab.alike(&config);
        assert!(ran.out.contains("No space left on device") && ran.out.contains("changed"), "{ran:?}");
    }
}

#[test]
fn users_are_others_outside() {
    let lab = lab!();
    lab.machine.sh("chown -R 100000:100000 b/rootfs && chmod 755 . b").ok();
    let script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; ls -ln /etc/passwd | awk '{print $3}'; \
                  grep ^CapEff /proc/self/status; ls -A /dev | grep -v core | sort; touch /tmp/x && ls -ln /tmp/x | awk '{print $3, $4}'; rm /tmp/x; echo >/dev/null";
    let mut config = lab.config(script);
    let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = ids.clone();
    config["linux"]["gidMappings"] = ids;
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    assert!(lab.alike(&config).out.contains("100000"));
}

#[test]
fn namespaces_of_others_are_joined() {
    let lab = lab!();
    lab.configure(&lab.config("sleep 1000"));
    lab.strata("create --bundle b other").ok();
    let state: Value = serde_json::from_str(&lab.strata("state other").ok()).unwrap();
    let mut config = lab.config("for n in net ipc uts pid mnt; do readlink /proc/self/ns/$n; done; hostname");
    let below = |name: &str| format!("/proc/{}/ns/{name}", state["pid"]);
    config["hostname"] = Value::Null;
    config["linux"]["cgroupsPath"] = json!(format!("{}-2", lab.cgroup()));
    config["linux"]["namespaces"] = json!([
        {"type": "mount"}, {"type": "network", "path": below("net")}, {"type": "ipc", "path": below("ipc")},
        {"type": "uts", "path": below("uts")}, {"type": "pid", "path": below("pid")},
    ]);
    lab.configure(&config);
    let ran = lab.strata("run --bundle b box").ok();
    let theirs =
        lab.machine.sh(&format!("for n in net ipc uts pid; do readlink /proc/{}/ns/$n; done", state["pid"])).ok();
    assert!(ran.starts_with(&theirs) && ran.ends_with("\nbox\n"), "{ran} {theirs}");
    lab.strata("delete --force other").ok();
}
