//! A container's first process is made while the client still looks for the image: nobody can tell, and nothing stays.

use std::process::Stdio;
use std::time::Instant;

use strata_testkit::{Machine, need};

use super::{Lab, PATIENCE, needs};

/// What a container can see of how it was made.
const LOOK: &str = "cat /proc/self/mountinfo /proc/self/cgroup /proc/self/limits /proc/self/uid_map /proc/self/oom_score_adj; \
                    grep -v -e ctxt -e Pid: -e gid: -e NS -e Vm -e Rss -e SigQ /proc/self/status; ls -l /proc/self/fd /proc/self/ns | wc -l; \
                    ls -lR /dev; stat -f -c %T /dev/shm /sys/fs/cgroup; umask; hostname; ls /sys/class/net; id";

#[test]
fn a_container_that_was_begun_ahead_is_like_any_other() {
    need!(needs());
    let lab = Lab::start();
    // From the second on, they are made in a copy of the bare mount namespace and have what the one before had.
    lab.strata("run --rm --network none box true").ok();
    for options in [
        "",
        "--network none",
        "-t",
        "--shm-size 1m",
        "--privileged",
        "--read-only --init",
        "--memory 64m --cpuset-cpus 0",
        "--tmpfs /t --tmpfs /dev/shm -v vol:/v",
        "--pids-limit 20 -u 7:8 --cap-drop ALL",
        "--ipc host --pid host",
        "--userns auto",
        "--cgroup-parent /elsewhere",
        "--tmpfs /dev",
    ] {
        let words: Vec<&str> = ["--hostname", "h"].into_iter().chain(options.split_whitespace()).collect();
        let words = [words.as_slice(), &["box", "sh", "-c", LOOK]].concat();
        let seen = |name: &str, shown: String| {
            let id = lab.machine.strata(["inspect", "-f", "{{.Id}}", name]).ok();
            lab.machine.strata(["rm", "-f", name]).ok();
            shown.replace(id.trim(), "ID").lines().map(without_numbers).collect::<Vec<_>>()
        };
        let run = lab.machine.strata([&["run", "--name", "ahead"], words.as_slice()].concat()).ok();
        let ahead = seen("ahead", run);
        lab.machine.strata([&["create", "--name", "after"], words.as_slice()].concat()).ok();
        let after = seen("after", lab.strata("start -a after").ok());
        assert_eq!(ahead, after, "{options}");
        lab.machine.strata(["volume", "prune", "-af"]).ok();
    }
    lab.is_clean();
}

/// A line without the ids of mounts, devices of mounts, times and inodes.
fn without_numbers(line: &str) -> String {
    let words = line.split_whitespace().enumerate();
    let is_mount = line.split_whitespace().nth(2).is_some_and(|word| word.contains(':'));
    let kept = words.filter(|(at, word)| !(word.contains(':') || is_mount && *at < 3));
    kept.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

/// The control groups of what waits to be a container, in the machine.
fn waiting(lab: &Lab) -> Vec<String> {
    let script =
        "for p in /proc/[0-9]*; do read name <$p/comm && [ $name = strata-shim ] && cat $p/cgroup; done 2>/dev/null";
    let groups = lab.machine.sh(script).out;
    groups.lines().filter(|line| line.contains("/strata/")).map(str::to_owned).collect()
}

#[test]
fn a_client_that_dies_before_there_is_a_container_leaves_nothing() {
    need!(needs());
    let lab = Lab::start();
    // A file of variables that never comes.
    lab.machine.sh("mkfifo never").ok();
    let words = "run --env-file never box true".split(' ');
    let client = lab.machine.strata_command(words).stderr(Stdio::null()).spawn().unwrap();
    let until = |done: &dyn Fn(&[String]) -> bool| {
        let asked = Instant::now();
        loop {
            let groups = waiting(&lab);
            if done(&groups) {
                return groups;
            }
            assert!(asked.elapsed() < PATIENCE, "{groups:?}");
        }
    };
    let groups = until(&|groups| !groups.is_empty());
    Machine::kill(client);
    until(&|groups| groups.is_empty());
    for line in groups {
        let (_, rest) = line.split_once(':').unwrap();
        let (controller, path) = rest.split_once(':').unwrap();
        let dir = format!("/sys/fs/cgroup/{controller}{path}");
        assert!(!std::path::Path::new(&dir).exists(), "{dir}");
    }
    lab.is_clean();
}
