//! What a container may use, changed and looked at while it runs. The numbers are read back from the control groups that
//! the container itself sees.

use std::time::Instant;

use strata_testkit::need;

use super::{Lab, PATIENCE, needs};

/// Where a file is in the container: version 1, version 2.
fn cat(v1: &str, v2: &str) -> String {
    format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}")
}

/// Whether this host has version 1 controllers.
fn v1() -> bool {
    std::path::Path::new("/sys/fs/cgroup/memory").is_dir()
}

fn either<'t>(version_1: &'t str, version_2: &'t str) -> &'t str {
    if v1() { version_1 } else { version_2 }
}

fn controllers() -> Result<(), String> {
    let there = v1() || std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").is_file();
    if there { Ok(()) } else { Err("control groups".to_owned()) }
}

#[test]
fn limits_are_what_the_kernel_is_told() {
    need!(needs(), controllers());
    let lab = Lab::start();
    for (options, script, expected) in [
        ("-m 64m", cat("memory/memory.limit_in_bytes", "memory.max"), "67108864\n"),
        ("-m 64m --memory-reservation 32m", cat("memory/memory.soft_limit_in_bytes", "memory.low"), "33554432\n"),
        ("--cpu-shares 512", cat("cpu/cpu.shares", "cpu.weight"), either("512\n", "20\n")),
        ("--cpus 0.5", cat("cpu/cpu.cfs_quota_us", "cpu.max"), either("50000\n", "50000 100000\n")),
        (
            "--cpu-period 50000 --cpu-quota 20000",
            cat("cpu/cpu.cfs_quota_us", "cpu.max"),
            either("20000\n", "20000 50000\n"),
        ),
        ("--cpuset-cpus 0", cat("cpuset/cpuset.cpus", "cpuset.cpus"), "0\n"),
        ("--pids-limit 33", cat("pids/pids.max", "pids.max"), "33\n"),
        ("--pids-limit -1", cat("pids/pids.max", "pids.max"), "max\n"),
    ] {
        let ran = lab.script(options, &script);
        assert_eq!((ran.code, ran.out.as_str()), (0, expected), "{options}: {}", ran.err);
    }
    if v1() {
        let swappiness = lab.script("--memory-swappiness 7", "cat /sys/fs/cgroup/memory/memory.swappiness");
        assert_eq!(swappiness.ok(), "7\n");
        let oom = lab.script("-m 64m --oom-kill-disable", "head -1 /sys/fs/cgroup/memory/memory.oom_control");
        assert_eq!(oom.ok(), "oom_kill_disable 1\n");
    }
    assert_eq!(lab.script("--oom-score-adj 321", "cat /proc/self/oom_score_adj").ok(), "321\n");
    // Not everybody may lower it: then it is told, in the kernel's words.
    let low = lab.script("--oom-score-adj -900", "cat /proc/self/oom_score_adj");
    let is_told = low.err.contains("the out-of-memory score cannot be set to -900: permission denied\n");
    assert!(low.out == "-900\n" || is_told, "{low:?}");
    assert!(lab.script("--kernel-memory 64m", "true").err.contains("WARNING: Kernel memory limits are deprecated"));
    lab.is_clean();
}

#[test]
fn memory_and_processes_end_where_they_should() {
    need!(needs(), controllers());
    let lab = Lab::start();
    let words = ["run", "--network", "none", "--name", "eater", "-m", "8m", "--memory-swap", "8m", "box", "sh", "-c"];
    let script = "x=xxxxxxxxxxxxxxxx; while true; do x=$x$x; done";
    let ran = lab.machine.strata([words.as_slice(), &[script]].concat());
    assert_eq!(ran.code, 137, "{ran:?}");
    assert_eq!(lab.strata("inspect -f {{.State.OOMKilled}} eater").ok(), "true\n");
    assert!(lab.strata("events --since 1h --until 0s --filter event=oom").ok().contains("name=eater"));
    lab.strata("rm eater").ok();
    let bomb = lab.script("--pids-limit 6", "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo not reached");
    assert!(bomb.err.contains("can't fork"), "{bomb:?}");
    lab.is_clean();
}

#[test]
fn a_group_of_ones_own_choice_holds_the_container() {
    need!(needs(), controllers());
    let lab = Lab::start();
    let parent = format!("/strata-test-{}", std::process::id());
    let id = lab.strata(&format!("run -d --network none --name inner --cgroup-parent {parent} box sleep 1000")).ok();
    let pid = lab.strata("inspect -f {{.State.Pid}} inner").ok();
    let groups = lab.machine.sh(&format!("cat /proc/{}/cgroup", pid.trim())).ok();
    assert!(groups.contains(&format!("{parent}/{}", id.trim())) || groups.contains("0::/"), "{groups}");
    lab.strata("pause inner").ok();
    assert_eq!(lab.strata("inspect -f {{.State.Status}} inner").ok(), "paused\n");
    lab.strata("unpause inner").ok();
    assert!(lab.strata("top inner").ok().contains("sleep 1000"));
    lab.strata("rm -f inner").ok();
    let left = lab.machine.sh(&format!("rmdir /sys/fs/cgroup/*{parent} /sys/fs/cgroup{parent} 2>/dev/null; true"));
    left.ok();
    assert!(!std::path::Path::new(&format!("/sys/fs/cgroup/memory{parent}")).exists(), "the container's group stayed");
    lab.is_clean();
}

#[test]
fn a_running_container_is_given_other_limits() {
    need!(needs(), controllers());
    let lab = Lab::start();
    lab.strata("run -d --network none --name web -m 64m box sleep 1000").ok();
    let read = |v1: &str, v2: &str| lab.machine.strata(["exec", "web", "sh", "-c", &cat(v1, v2)]).ok();
    assert_eq!(lab.strata("update -m 96m --memory-swap 200m --cpus 0.25 --pids-limit 44 web").ok(), "web\n");
    assert_eq!(read("memory/memory.limit_in_bytes", "memory.max"), "100663296\n");
    assert_eq!(read("pids/pids.max", "pids.max"), "44\n");
    assert_eq!(read("cpu/cpu.cfs_quota_us", "cpu.max"), either("25000\n", "25000 100000\n"));
    // One that its group did not need so far, and smaller ones again.
    lab.strata("update --cpuset-cpus 0 -m 32m --memory-swap 64m --pids-limit -1 web").ok();
    assert_eq!(lab.strata("exec web grep Cpus_allowed_list /proc/1/status").ok(), "Cpus_allowed_list:\t0\n");
    assert_eq!(read("memory/memory.limit_in_bytes", "memory.max"), "33554432\n");
    assert_eq!(read("pids/pids.max", "pids.max"), "max\n");
    let kept =
        lab.strata("inspect -f {{.HostConfig.Memory}}:{{.HostConfig.NanoCpus}}:{{.HostConfig.CpusetCpus}} web").ok();
    assert_eq!(kept, "33554432:250000000:0\n");
    let refused = lab.strata("update -m 1g web").fails(1);
    assert!(refused.contains("Memory limit should be smaller than already set memoryswap limit"), "{refused}");
    assert!(lab.strata("update web").fails(1).contains("you must provide one or more flags when using this command"));
    // They hold for the next run, and a policy for this one.
    lab.strata("restart -t 0 web").ok();
    assert_eq!(read("memory/memory.limit_in_bytes", "memory.max"), "33554432\n");
    lab.strata("update --restart always web").ok();
    let pid = lab.strata("inspect -f {{.State.Pid}} web").ok();
    lab.machine.sh(&format!("kill -9 {}", pid.trim())).ok();
    lab.until("inspect -f {{.RestartCount}} web", |out| out == "1\n");
    lab.strata("update --restart no web").ok();
    lab.until("inspect -f {{.State.Status}} web", |out| out == "running\n");
    let pid = lab.strata("inspect -f {{.State.Pid}} web").ok();
    lab.machine.sh(&format!("kill -9 {}", pid.trim())).ok();
    lab.until("inspect -f {{.State.Status}} web", |out| out == "exited\n");
    lab.strata("rm web").ok();
    lab.is_clean();
}

/// What a container costs besides its program, when nothing happens: its shim. Kilobytes of memory of its own, and its share
/// of the program's file, which here is the whole of what it has of that.
#[test]
fn an_idle_container_costs_little() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("run -d --network none --name idle box sleep 1000").ok();
    let sizes = || {
        let script = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" != strata-shim ] || \
                      awk '/^(Anonymous|Pss):/ {print $1, $2}' $p/smaps_rollup; done 2>/dev/null; :";
        let text = lab.machine.sh(script).ok();
        let find =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse::<u64>().unwrap();
        (find("Anonymous:"), find("Pss:"))
    };
    let small = |(own, all): (u64, u64)| own <= OWN_KB_MAX && all <= ALL_KB_MAX;
    let asked = Instant::now();
    while !small(sizes()) {
        assert!(asked.elapsed() < PATIENCE, "still {:?} kB", sizes());
    }
    // After something has happened, too.
    lab.strata("exec idle true").ok();
    let asked = Instant::now();
    while !small(sizes()) {
        assert!(asked.elapsed() < PATIENCE, "still {:?} kB", sizes());
    }
    lab.strata("rm -f idle").ok();
    lab.is_clean();
}

/// Heap, stack and written data of a shim; 230.
const OWN_KB_MAX: u64 = 300;
/// These and the pages of code that wait: 380, but 1300 where nothing is optimized and small functions are far apart.
const ALL_KB_MAX: u64 = if cfg!(debug_assertions) { 2000 } else { 600 };

#[test]
fn usage_is_shown() {
    need!(needs(), controllers());
    let lab = Lab::start();
    let id = lab.strata("run -d --network none --name idle -m 64m box sleep 1000").ok();
    lab.machine
        .strata(["run", "-d", "--network", "none", "--name", "busy", "box", "sh", "-c", "while :; do :; done"])
        .ok();
    let table = lab.strata("stats --no-stream idle").ok();
    let mut lines = table.lines();
    let head = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS";
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        head.split_whitespace().collect::<Vec<_>>()
    );
    let row = lines.next().unwrap();
    assert!(row.starts_with(&id[..12]) && row.contains(" / 64MiB ") && row.trim_end().ends_with('1'), "{row}");
    let json = lab.strata("stats --no-stream --no-trunc --format json busy").ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["Name"].as_str(), json["PIDs"].as_str()), (Some("busy"), Some("1")));
    let share: f64 = json["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!(share > 1.0, "{json}");
    lab.strata("stop -t 0 idle busy").ok();
    assert_eq!(lab.strata("stats --no-stream --format {{.Name}}").ok(), "");
    let stopped = lab.machine.strata([
        "stats",
        "--no-stream",
        "-a",
        "--format",
        "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}",
    ]);
    assert!(stopped.ok().contains("idle 0.00% 0B / 0B 0\n"));
    lab.strata("rm idle busy").ok();
    lab.is_clean();
}

#[test]
fn groups_that_an_update_added_go_with_the_container() {
    need!(needs(), controllers());
    let lab = Lab::start();
    let id = lab.strata("run -d --network none --name web box sleep 1000").ok();
    lab.strata("update --cpuset-cpus 0 web").ok();
    lab.strata("rm -f web").ok();
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> = hierarchies.map(|dir| dir.join("strata").join(id.trim())).filter(|dir| dir.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}
