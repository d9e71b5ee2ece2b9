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
    if ran.err.contains("Invalid argument") {
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
