//! What few bundles ask for.

use std::process::Stdio;

use serde_json::{Value, json};
use strata_testkit::machine::Ran;
use strata_testkit::{host, need};

use crate::bundle::Lab;

macro_rules! lab {
    () => {{
        need!(host::root(), host::program("busybox"), host::program("ip"));
        Lab::start()
    }};
}

/// Runs the bundle to its end.
fn run(lab: &Lab, config: &Value) -> Ran {
    lab.configure(config);
    lab.strata("run --bundle b box")
}

fn namespaces(config: &mut Value, change: impl FnOnce(&mut Vec<Value>)) {
    change(config["linux"]["namespaces"].as_array_mut().unwrap());
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted_in_the_machine_s() {
    let lab = lab!();
    let mut config = lab
        .config("readlink /proc/self/ns/mnt; ls / | tr '\\n' ' '; test -c /dev/null && echo null; ls /proc/1/status");
    namespaces(&mut config, |all| all.retain(|one| one["type"] != "mount"));
    let before = lab.machine.sh("readlink /proc/self/ns/mnt; cat /proc/self/mountinfo | wc -l").ok();
    let ran = run(&lab, &config);
    if ran.err.contains("invalid argument") {
        return host::skipped(module_path!(), "a kernel that mounts on trees of no namespace (Linux 6.15)");
    }
    let namespace = before.lines().next().unwrap();
    assert_eq!(ran.ok(), format!("{namespace}\nbin dev etc home proc root sys tmp null\n/proc/1/status\n"));
    assert_eq!(lab.machine.sh("readlink /proc/self/ns/mnt; cat /proc/self/mountinfo | wc -l").ok(), before);
}

#[test]
fn clocks_are_others_in_a_time_namespace() {
    let lab = lab!();
    if lab.machine.sh("test -e /proc/self/ns/time").code != 0 {
        return host::skipped(module_path!(), "time namespaces");
    }
    let mut config = lab.config("cut -d. -f1 /proc/uptime");
    namespaces(&mut config, |all| all.push(json!({"type": "time"})));
    config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 10_000_000, "nanosecs": 0}});
    let uptime: u64 = run(&lab, &config).ok().trim().parse().unwrap();
    assert!(uptime >= 10_000_000, "{uptime}");
}

#[test]
fn a_bind_is_shown_with_other_ids() {
    let lab = lab!();
    lab.machine.sh("mkdir d && touch d/file && chown 0:0 d/file").ok();
    let mut config = lab.config("ls -ln /d/file | awk '{print $3, $4}'");
    let ids = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    let source = lab.machine.dir().join("d");
    config["mounts"].as_array_mut().unwrap().push(json!({"destination": "/d", "type": "bind", "source": source,
        "options": ["rbind", "idmap"], "uidMappings": ids, "gidMappings": ids}));
    assert_eq!(run(&lab, &config).ok(), "5000 5000\n");
}

#[test]
fn the_user_namespace_of_others_is_joined() {
    let lab = lab!();
    lab.machine.sh("chown -R 100000:100000 b/rootfs && chmod 755 . b").ok();
    let mut config = lab.config("sleep 1000");
    let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = ids.clone();
    config["linux"]["gidMappings"] = ids;
    namespaces(&mut config, |all| all.push(json!({"type": "user"})));
    lab.configure(&config);
    lab.strata("create --bundle b other").ok();
    let state: Value = serde_json::from_str(&lab.strata("state other").ok()).unwrap();
    let mut config = lab.config("cat /proc/self/uid_map; readlink /proc/self/ns/user; id -u; ls /dev/null");
    config["linux"]["cgroupsPath"] = json!(format!("{}-2", lab.cgroup()));
    namespaces(&mut config, |all| all.push(json!({"type": "user", "path": format!("/proc/{}/ns/user", state["pid"])})));
    let ran = run(&lab, &config).ok();
    let theirs = lab.machine.sh(&format!("readlink /proc/{}/ns/user", state["pid"])).ok();
    assert_eq!(ran, format!("         0     100000      65536\n{theirs}0\n/dev/null\n"));
    lab.strata("delete --force other").ok();
}

#[test]
fn descriptors_are_passed_on_and_no_others() {
    let lab = lab!();
    lab.configure(&lab.config("ls /proc/self/fd | tr '\\n' ' '; cat <&3"));
    let script = format!(
        "exec 3</etc/hostname 4</dev/null 5</dev/null; {} runtime --root state run --bundle b --preserve-fds 1 box",
        host::strata().display()
    );
    let ran: Ran = lab.machine.command("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap().into();
    let name = std::fs::read_to_string("/etc/hostname").unwrap();
    // The fourth is the directory that `ls` reads.
    assert_eq!(ran.ok(), format!("0 1 2 3 4 {name}"));
}

#[test]
fn sockets_of_who_started_us_are_handed_over() {
    let lab = lab!();
    lab.configure(&lab.config("env | grep ^LISTEN | sort; cat <&3"));
    let program = host::strata().display().to_string();
    let script = format!("exec 3</etc/hostname; LISTEN_FDS=1 {program} runtime --root state run --bundle b box");
    let ran = lab.machine.sh(&script).ok();
    let name = std::fs::read_to_string("/etc/hostname").unwrap();
    assert_eq!(ran, format!("LISTEN_FDS=1\nLISTEN_PID=1\n{name}"));
}

/// CVE-2019-5736: root in a container makes the runtime execute itself, and writes to it when it has ended.
#[test]
fn the_runtime_s_program_cannot_be_overwritten_from_inside() {
    let lab = lab!();
    let program = lab.machine.dir().join("strata");
    std::fs::copy(host::strata(), &program).unwrap();
    let ours = |words: &[&str]| -> i32 {
        let mut command = lab.machine.command(&program);
        let streams =
            command.args(["runtime", "--root", "state"]).args(words).stdout(Stdio::null()).stderr(Stdio::null());
        streams.status().unwrap().code().unwrap_or(-1)
    };
    // Opened while it runs, written to when it has ended: by then it is not busy.
    let attack = "touch /tmp/on; while :; do for e in /proc/[0-9]*/exe; do case $(readlink $e) in */busybox) continue;; esac; \
                  (exec 9<$e; while test -d ${e%/exe}; do :; done; \
                  dd if=/etc/passwd of=/proc/self/fd/9 conv=notrunc) 2>/dev/null; done; done";
    let mut config = lab.config(attack);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_PTRACE"));
    }
    lab.configure(&config);
    assert_eq!((ours(&["create", "--bundle", "b", "box"]), ours(&["start", "box"])), (0, 0));
    while lab.machine.sh("test -e b/rootfs/tmp/on").code != 0 {
        std::thread::yield_now();
    }
    for _ in 0..10 {
        ours(&["exec", "box", "/proc/self/exe", "runtime", "features"]);
    }
    lab.strata("delete --force box").ok();
    assert!(std::fs::read(&program).unwrap() == std::fs::read(host::strata()).unwrap(), "the program was overwritten");
}

#[test]
fn the_old_root_is_out_of_reach_without_pivot_root() {
    let lab = lab!();
    lab.configure(&lab.config("ls /; ls /proc/1/root"));
    let ran = lab.strata("run --no-pivot --bundle b box").ok();
    let list = "bin\ndev\netc\nhome\nproc\nroot\nsys\ntmp\n";
    assert_eq!(ran, format!("{list}{list}"));
}

#[test]
fn a_process_is_scheduled_as_it_says() {
    let lab = lab!();
    let mut config = lab.config("cut -d' ' -f19,41 /proc/self/stat; ionice");
    config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
    config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE"});
    assert_eq!(run(&lab, &config).ok(), "7 3\nidle\n");
    config["process"]["scheduler"] = json!({"policy": "SCHED_NOPE"});
    assert!(run(&lab, &config).fails(1).contains("SCHED_NOPE"));
}
