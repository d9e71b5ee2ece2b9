//! Networks, queues and writable layers that a container left as it got them serve the next one; what was used serves nobody.

use std::os::fd::AsFd as _;

use rustix::mount::MountAttrFlags;
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

/// What a busy machine may spoil is tried again: a container that runs for a second keeps nothing.
fn assert_sooner_or_later(what: &str, holds: impl FnMut() -> bool) {
    const TRIES_MAX: usize = 10;
    assert!(std::iter::repeat_with(holds).take(TRIES_MAX).any(|held| held), "{what}");
}

#[test]
fn what_nobody_used_serves_the_next() {
    need!(needs());
    let lab = Lab::start();
    assert_sooner_or_later("both are kept after one container and taken by the next", || lab.place() == lab.place());
    assert_sooner_or_later("what a container of a bridge shares with others", || {
        let before = lab.place();
        let bridged: Vec<String> = lab.says("", WHERE).lines().map(str::to_owned).collect();
        assert_ne!(bridged[0], before[0], "it has a network of its own");
        bridged[1] == before[1] && lab.place() == before
    });
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
        assert_sooner_or_later(content, || lab.place() == lab.place());
    }
    // The namespace in which they are pinned may be gone.
    lab.machine.sh("umount -l /run/strata/*/layers.mnt").ok();
    assert_sooner_or_later("they are pinned in a new one", || lab.place() == lab.place());
    lab.is_clean();
}

/// Which container's upper directory a root stands on, as it was mounted; and what a new container shows of its root.
const ROOT: &str = "sed -n 's/.*upperdir=\\([^,]*\\).*/\\1/p' /proc/self/mountinfo";
const TREE: &str = "stat -c '%a %u %g' /; ls -a / /etc /tmp; cat /etc/new 2>&1 || true";
const SHORT: &str = "--network none";

/// What a root needs in order to be kept: Linux 6.15.
fn second_mounts() -> Result<(), String> {
    let made = strata_sys::detached::filesystem("tmpfs", &[], MountAttrFlags::empty()).unwrap();
    strata_sys::detached::copy(made.as_fd(), "", false).map(drop).map_err(|_| "copies of detached mounts".to_owned())
}

impl Lab {
    /// Whether one container has the root of the one before.
    fn keeps_a_root(&self, options: &str) -> bool {
        self.says(options, ROOT) == self.says(options, ROOT)
    }

    /// Where the next container's root is kept, if one is.
    fn spare(&self) -> bool {
        self.machine.root().join("layers/spare/upper").exists()
    }
}

#[test]
fn a_root_that_nobody_changed_serves_the_next() {
    need!(needs(), second_mounts());
    let lab = Lab::start();
    assert_sooner_or_later("a root is kept", || lab.keeps_a_root(SHORT));
    assert_sooner_or_later("a root of a container with a network", || lab.keeps_a_root(""));
    assert!(lab.spare());
    // It is that of the image.
    lab.says(SHORT, "true");
    let change = "echo other > /etc/new";
    lab.machine.strata(["run", "--name", "other", "--network", "none", "box", "sh", "-c", change]).ok();
    lab.strata("commit other other").ok();
    lab.strata("rm other").ok();
    for _ in 0..2 {
        assert_eq!(lab.strata("run --rm --network none other cat /etc/new").ok(), "other\n");
        assert_eq!(
            lab.says(SHORT, "cat /etc/new 2>&1 || true"),
            "cat: can't open '/etc/new': No such file or directory\n"
        );
    }
    // It holds no layer: what is removed is gone.
    lab.strata("rmi other").ok();
    assert!(!lab.spare());
    lab.is_clean();
}

#[test]
fn a_root_that_was_changed_serves_nobody() {
    need!(needs(), second_mounts());
    let lab = Lab::start();
    let new = lab.says(SHORT, TREE);
    for script in [
        "touch /file",
        "mkdir /tmp/dir; rmdir /tmp/dir",
        "echo new > /etc/new",
        "rm -r /etc",
        "mv /bin/busybox /bin/other || true",
        "chmod 700 /",
        "chown 7 /",
        "chgrp 7 /",
        "mkdir /made; mount -t tmpfs none /made || true",
        "ln -s /etc /link; sleep 0",
        "mkfifo /fifo; exec 3<>/fifo",
    ] {
        assert_sooner_or_later("a root is kept", || lab.keeps_a_root(SHORT));
        lab.says(SHORT, &format!("{{ {script}; }} >/dev/null 2>&1 || true"));
        assert_eq!(lab.says(SHORT, TREE), new, "{script}");
    }
    lab.is_clean();
}

#[test]
fn a_root_that_others_reached_serves_nobody() {
    need!(needs(), second_mounts());
    let lab = Lab::start();
    lab.machine.sh("echo copied > file").ok();
    let new = lab.says(SHORT, TREE);
    let kept = || assert_sooner_or_later("a root is kept", || lab.keeps_a_root(SHORT));
    // Two at once have roots of their own.
    kept();
    for name in ["one", "two"] {
        lab.strata(&format!("run -d --rm --network none --name {name} box sleep 1000")).ok();
    }
    let roots = ["one", "two"].map(|name| lab.machine.strata(["exec", name, "sh", "-c", ROOT]).ok());
    assert_ne!(roots[0], roots[1]);
    lab.strata("cp file one:/tmp/file").ok();
    lab.strata("exec two touch /etc/new").ok();
    lab.strata("rm -f one two").ok();
    assert_eq!(lab.says(SHORT, TREE), new);
    // Into one that has not started: its program has to see that.
    kept();
    lab.strata("create --rm --network none --name later box cat /etc/new").ok();
    lab.strata("cp file later:/etc/new").ok();
    assert_eq!(lab.strata("start -a later").ok(), "copied\n");
    assert_eq!(lab.says(SHORT, TREE), new);
    // What a killed shim leaves is looked through by nobody.
    kept();
    let change = "touch /etc/new; sleep 1000";
    lab.machine.strata(["run", "-d", "--rm", "--network", "none", "--name", "killed", "box", "sh", "-c", change]).ok();
    lab.until("exec killed ls /etc", |names| names.contains("new"));
    let pid = lab.strata("inspect -f {{.State.Pid}} killed").ok();
    lab.machine.sh(&format!("kill -9 $(ps -o ppid= -p {pid})")).ok();
    lab.strata("rm -f killed").ok();
    assert_eq!(lab.says(SHORT, TREE), new);
    // Users of others write as others.
    kept();
    if lab.strata("run --rm --network none --userns auto box touch /etc/new").code == 0 {
        assert_eq!(lab.says(SHORT, TREE), new);
    }
    lab.is_clean();
}

#[test]
fn what_is_written_of_a_root_may_be_anything() {
    need!(needs(), second_mounts(), strata_testkit::host::program("python3"));
    let lab = Lab::start();
    let new = lab.says(SHORT, TREE);
    for spoil in [
        "for f in /run/strata/*/union; do : >$f; done",
        "for f in /run/strata/*/union; do printf torn >$f; done",
        "for f in /run/strata/*/union; do printf 0000000000000000 >$f; done",
        "rm -r store/layers/spare",
        "rm -r store/layers/spare/work",
        "echo {} >store/layers/spare/layers.json",
        "umount -l /run/strata/*/layers.mnt",
        // Another directory of that number, as on another disk that is mounted there.
        "cd store/layers && mv spare old && cp -a old spare && rm -r old && \
         for f in /run/strata/*/union; do python3 -c 'import os,struct,sys; \
         open(sys.argv[1],\"r+b\").write(struct.pack(\"<Q\",os.stat(\"spare/upper\").st_ino))' $f || exit; done",
    ] {
        assert_sooner_or_later("a root is kept", || lab.keeps_a_root(SHORT) && lab.spare());
        lab.machine.sh(spoil).ok();
        assert_eq!(lab.says(SHORT, "echo written >/new && cat /new"), "written\n", "{spoil}");
        assert_eq!(lab.says(SHORT, TREE), new, "{spoil}");
    }
    lab.is_clean();
}
