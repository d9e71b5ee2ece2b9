//! Control groups of version 2 alone: that limits bind, and that everybody is in the right group from the start. Hosts with
//! version 1 run none of it; `cargo xtask test-vm` boots one without.

use std::path::{Path, PathBuf};

use strata_testkit::need;

use super::{Lab, needs};

/// Whether nothing but version 2 is mounted.
fn version_2() -> Result<(), String> {
    let alone = Path::new("/sys/fs/cgroup/cgroup.controllers").is_file();
    if alone { Ok(()) } else { Err("control groups of version 2 alone".to_owned()) }
}

/// A running container's group and first process.
fn group(lab: &Lab, name: &str) -> (PathBuf, String) {
    let id = lab.strata(&format!("inspect -f {{{{.Id}}}} {name}")).ok();
    let pid = lab.strata(&format!("inspect -f {{{{.State.Pid}}}} {name}")).ok();
    (Path::new("/sys/fs/cgroup/strata").join(id.trim()), pid.trim().to_owned())
}

fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The number behind a word at the beginning of a line.
fn number(text: &str, word: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

#[test]
fn the_container_and_who_enters_it_are_in_its_group() {
    need!(needs(), version_2());
    let lab = Lab::start();
    lab.strata("run -d --network none --name web box sleep 1000").ok();
    let (dir, pid) = group(&lab, "web");
    // PID 1 of the container's and of the host's namespace see the same group by different names.
    assert_eq!(lab.strata("exec web cat /proc/self/cgroup").ok(), "0::/\n");
    let path = format!("0::/{}\n", dir.strip_prefix("/sys/fs/cgroup").unwrap().display());
    assert_eq!(lab.machine.sh(&format!("cat /proc/{pid}/cgroup")).ok(), path);
    assert_eq!(number(&read(&dir, "cgroup.stat"), "nr_descendants"), 0);
    assert_eq!(lab.strata("run --rm --network none box cat /proc/1/cgroup").ok(), "0::/\n");
    // What a container makes inside its group goes with it.
    let nested = "mkdir /sys/fs/cgroup/inner && sleep 1000 & wait";
    lab.machine
        .strata(["run", "-d", "--privileged", "--network", "none", "--name", "nest", "box", "sh", "-c", nested])
        .ok();
    let (nest, _) = group(&lab, "nest");
    lab.until("exec nest ls /sys/fs/cgroup", |out| out.contains("inner\n"));
    lab.strata("rm -f web nest").ok();
    assert!(!dir.exists() && !nest.exists(), "groups stayed");
    lab.is_clean();
}

#[test]
fn time_is_shared_out_as_asked() {
    need!(needs(), version_2());
    let lab = Lab::start();
    // Ends when the kernel has held it back; without a limit it never would.
    let script = "while :; do \
                    while read word count; do case $word in nr_throttled) held=$count;; esac; done < /sys/fs/cgroup/cpu.stat; \
                    [ $held -lt 3 ] || exit 0; done";
    assert_eq!(lab.script("--cpus 0.1", script).code, 0);
    // A weight is no limit: it is only what it says it is.
    assert_eq!(lab.script("--cpu-shares 262144", "cat /sys/fs/cgroup/cpu.weight").ok(), "10000\n");
    lab.is_clean();
}

#[test]
fn too_many_processes_and_too_much_memory_are_counted() {
    need!(needs(), version_2());
    let lab = Lab::start();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done";
    let words = ["run", "-d", "-i", "--network", "none", "--name", "bomb", "--pids-limit", "6", "box", "sh"];
    lab.machine.strata(words).ok();
    let (dir, _) = group(&lab, "bomb");
    let refused = lab.machine.strata(["exec", "bomb", "sh", "-c", script]);
    assert!(refused.err.contains("can't fork"), "{refused:?}");
    assert!(number(&read(&dir, "pids.events"), "max") > 0);
    // Swap is what may be used beyond memory: none here.
    lab.strata("update -m 16m --memory-swap 16m bomb").ok();
    assert_eq!((read(&dir, "memory.max").as_str(), read(&dir, "memory.swap.max").as_str()), ("16777216\n", "0\n"));
    lab.strata("rm -f bomb").ok();
    // The first process lives on when another one is killed for lack of memory, and the container with it.
    let words = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "eater",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "box",
        "sleep",
        "1000",
    ];
    lab.machine.strata(words).ok();
    let eaten = lab.machine.strata(["exec", "eater", "sh", "-c", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"]);
    assert_eq!(eaten.code, 137, "{eaten:?}");
    let (dir, _) = group(&lab, "eater");
    assert!(number(&read(&dir, "memory.events"), "oom_kill") > 0);
    assert_eq!(lab.strata("inspect -f {{.State.Status}} eater").ok(), "running\n");
    lab.strata("rm -f eater").ok();
    lab.is_clean();
}

#[test]
fn disks_are_limited_and_counted() {
    need!(needs(), version_2());
    let lab = Lab::start();
    // The disk that the store is on.
    let numbers = lab.machine.sh("stat -c '%d' .").ok().trim().parse::<u64>().unwrap();
    let (major, minor) = (rustix::fs::major(numbers), rustix::fs::minor(numbers));
    let name = lab.machine.sh(&format!("sed -n 's/^DEVNAME=//p' /sys/dev/block/{major}:{minor}/uevent")).ok();
    let disk = format!("/dev/{}", name.trim());
    let options = format!("--device-write-bps {disk}:1mb --device-read-iops {disk}:777");
    let line = format!("run -d --network none --name writer {options} box sleep 1000");
    lab.strata(&line).ok();
    let (dir, _) = group(&lab, "writer");
    let set = read(&dir, "io.max");
    assert_eq!(set, format!("{major}:{minor} rbps=max wbps=1048576 riops=777 wiops=max\n"));
    // Three MiB at one each second: two seconds at least, after the first one that is given at once.
    let script = "dd if=/dev/zero of=/file bs=512k count=6 oflag=direct 2>/dev/null";
    let begun = std::time::Instant::now();
    assert_eq!(lab.machine.strata(["exec", "writer", "sh", "-c", script]).code, 0);
    assert!(begun.elapsed().as_secs_f64() > 1.5, "3 MiB were written in {:?}", begun.elapsed());
    let table = lab.strata("stats --no-stream --format {{.BlockIO}} writer").ok();
    assert!(!table.trim().ends_with("/ 0B"), "{table}");
    lab.strata("rm -f writer").ok();
    lab.is_clean();
}

#[test]
fn a_frozen_container_stands_still() {
    need!(needs(), version_2());
    let lab = Lab::start();
    let script = "i=0; while :; do i=$((i+1)); echo $i > /count; done";
    lab.machine.strata(["run", "-d", "--network", "none", "--name", "web", "box", "sh", "-c", script]).ok();
    let (dir, pid) = group(&lab, "web");
    lab.until("exec web cat /count", |out| out.trim().parse::<u64>().is_ok_and(|count| count > 3));
    lab.strata("pause web").ok();
    assert_eq!(number(&read(&dir, "cgroup.events"), "frozen"), 1);
    assert_eq!(lab.strata("ps --format {{.State}}").ok(), "paused\n");
    let ticks = || lab.machine.sh(&format!("cut -d' ' -f14 /proc/{pid}/stat")).ok();
    let before = ticks();
    assert!(lab.strata("exec web true").fails(1).contains("is paused"));
    assert_eq!(ticks(), before, "it ran while it was frozen");
    lab.strata("unpause web").ok();
    assert_eq!(number(&read(&dir, "cgroup.events"), "frozen"), 0);
    lab.until("exec web true", |_| ticks() != before);
    // A frozen one is removed, too.
    lab.strata("pause web").ok();
    lab.strata("rm -f web").ok();
    assert!(!dir.exists(), "its group stayed");
    lab.is_clean();
}

#[test]
fn what_is_used_is_shown() {
    need!(needs(), version_2());
    let lab = Lab::start();
    let script = "x=x; while [ ${#x} -lt 4000000 ]; do x=$x$x; done; echo full; sleep 1000 & wait";
    lab.machine
        .strata(["run", "-d", "--network", "none", "--name", "web", "-m", "64m", "box", "sh", "-c", script])
        .ok();
    lab.until("logs web", |out| out == "full\n");
    let json = lab.strata("stats --no-stream --format json web").ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["PIDs"], "2");
    let (used, limit) = json["MemUsage"].as_str().unwrap().split_once(" / ").unwrap();
    assert_eq!(limit, "64MiB");
    let used: f64 = used.strip_suffix("MiB").unwrap().parse().unwrap();
    assert!((4.0..60.0).contains(&used), "{json}");
    lab.strata("rm -f web").ok();
    lab.is_clean();
}
