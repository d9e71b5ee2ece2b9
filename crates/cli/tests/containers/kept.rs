//! Networks and queues that a container left as it got them serve the next one; what was used serves nobody.

use strata_testkit::need;

use super::{Lab, needs};

/// Which namespaces a container is in, and what a new one shows of them.
const WHERE: &str = "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc";
const LOOK: &str = "ip addr; ip route; cat /proc/net/dev; ls /dev/mqueue; \
                    cat /proc/sysvipc/shm /proc/sysvipc/msg /proc/sysvipc/sem /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_default_ttl";

impl Lab {
    /// What a script prints in a container of its own with these options.
    fn says(&self, options: &str, script: &str) -> String {
        let words: Vec<&str> = ["run", "--rm"].into_iter().chain(options.split_whitespace()).collect();
        let ran = self.machine.strata([words.as_slice(), &["box", "sh", "-c", script]].concat());
        assert_eq!(ran.code, 0, "{options} {script}: {ran:?}");
        ran.out
    }

    /// Where a usual container without a network is.
    fn place(&self) -> Vec<String> {
        self.says("--network none", WHERE).lines().map(str::to_owned).collect()
    }
}

#[test]
fn what_nobody_used_serves_the_next() {
    need!(needs());
    let lab = Lab::start();
    let first = lab.place();
    assert_eq!(lab.place(), first, "both are kept after the first container and taken by the second");
    // A container of a bridge has a network of its own, and queues that are kept.
    let bridged: Vec<String> = lab.says("", WHERE).lines().map(str::to_owned).collect();
    assert_ne!(bridged[0], first[0]);
    assert_eq!(bridged[1], first[1]);
    assert_eq!(lab.place(), first);
    lab.is_clean();
}

#[test]
fn those_who_live_at_once_share_nothing() {
    need!(needs());
    let lab = Lab::start();
    lab.place();
    let names = ["aa", "bb", "cc", "dd"];
    for name in names {
        lab.strata(&format!("run -d --name {name} --network none box sleep 1000")).ok();
    }
    let mut places: Vec<String> = names
        .iter()
        .flat_map(|name| {
            let said = lab.machine.strata(["exec", name, "sh", "-c", WHERE]).ok();
            said.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .chain(lab.place())
        .collect();
    let count = places.len();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), count, "{places:?}");
    lab.strata("rm -f aa bb cc dd").ok();
    lab.is_clean();
}

#[test]
fn what_was_used_serves_nobody() {
    need!(needs());
    let lab = Lab::start();
    lab.place();
    let new = lab.says("--network none", LOOK);
    for (options, script) in [
        ("--network none", "ping -c 1 127.0.0.1"),
        ("--network none --cap-add NET_ADMIN", "ip addr add 10.9.9.9/8 dev lo"),
        ("--network none --privileged", "ip link add name other type dummy || ip addr add 10.9.9.9/8 dev lo"),
        ("--network none --sysctl net.ipv4.ip_forward=1", "true"),
        ("--network none -v /proc:/other", "echo 7 >/other/sys/net/ipv4/ip_default_ttl"),
        ("--network none", "touch /dev/mqueue/queue"),
        ("--network none --cap-add SYS_ADMIN", "true"),
        ("", "touch /dev/mqueue/queue"),
    ] {
        lab.says(options, &format!("{{ {script}; }} >/dev/null"));
        assert_eq!(lab.says("--network none", LOOK), new, "{options} {script}");
    }
    lab.is_clean();
}

#[test]
fn what_others_are_in_serves_nobody() {
    need!(needs());
    let lab = Lab::start();
    lab.place();
    // Whatever is quicker: both have been in it, and the second still is.
    lab.strata("run -d --name one --network none --ipc shareable box sleep 1000").ok();
    lab.strata("run -d --name two --network container:one --ipc container:one box sleep 1000").ok();
    lab.strata("rm -f one").ok();
    let said = lab.machine.strata(["exec", "two", "sh", "-c", WHERE]).ok();
    let place = lab.place();
    for (kind, used) in said.lines().enumerate() {
        assert_ne!(place[kind], used);
    }
    lab.strata("rm -f two").ok();
    // Nor does what somebody changed who came in by `exec`, and may do more than the container.
    let new = lab.says("--network none", LOOK);
    lab.strata("run -d --name three --network none box sleep 1000").ok();
    let script = "ip addr add 10.9.9.9/8 dev lo; touch /dev/mqueue/queue";
    lab.machine.strata(["exec", "--privileged", "three", "sh", "-c", script]).ok();
    lab.strata("rm -f three").ok();
    assert_eq!(lab.says("--network none", LOOK), new);
    lab.is_clean();
}

#[test]
fn what_is_written_of_them_may_be_anything() {
    need!(needs());
    let lab = Lab::start();
    lab.place();
    for content in ["", "torn", "0000000000000000000000000000000000000000"] {
        lab.machine.sh(&format!("for f in /run/strata/*/spare; do printf %s '{content}' >$f; done")).ok();
        assert_eq!(lab.place(), lab.place(), "{content:?}");
    }
    // The namespace in which they are pinned may be gone.
    lab.machine.sh("umount -l /run/strata/*/layers.mnt").ok();
    lab.place();
    assert_eq!(lab.place(), lab.place());
    lab.is_clean();
}
