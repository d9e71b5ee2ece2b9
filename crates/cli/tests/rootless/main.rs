//! Containers of somebody who is not root.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod delegated;
mod drivers;
mod foreign;
mod pasta;
mod podman;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use strata_testkit::image::Image;
use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host, need};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine on which somebody called `me`, 1000, has a home.
struct Person {
    machine: Machine,
}

impl Person {
    /// With these lines in `/etc/subuid` and `/etc/subgid`.
    fn with(delegated: &str) -> Self {
        let person = Self::prepared(delegated, "");
        person.strata("load -qi ../box.tar").ok();
        person
    }

    /// The same without an image, and with a script that was run as root before the home was handed over.
    fn prepared(delegated: &str, more: &str) -> Self {
        let machine = Machine::isolated();
        let dir = machine.dir().to_owned();
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        write("passwd", "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n");
        write("group", "root:x:0:\nme:x:1000:\n");
        write("subid", delegated);
        write("box.tar", "");
        std::fs::write(dir.join("box.tar"), Image::busybox().docker_archive("box:latest")).unwrap();
        std::fs::copy(host::strata(), dir.join("strata")).unwrap();
        let script = "set -e; chmod 755 . strata; chmod 644 passwd group subid box.tar; \
            for f in passwd group; do mount --bind $f /etc/$f; done; \
            for f in subuid subgid; do [ -e /etc/$f ] || touch /etc/$f; mount --bind subid /etc/$f; done; \
            mkdir -p home run;";
        machine.sh(&format!("{script} {more} chown 1000:1000 home run; chmod 700 home run")).ok();
        Self { machine }
    }

    fn command(&self, program: &str) -> Command {
        let dir = self.machine.dir();
        let mut command = self.machine.command("setpriv");
        command.args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "--inh-caps=-all"]);
        command.args(["--", "sh", "-c", "cd home && exec \"$@\"", "sh", program]);
        command.env("HOME", dir.join("home")).env("XDG_RUNTIME_DIR", dir.join("run"));
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.command("../strata").args(words).output().unwrap().into()
    }

    /// Runs strata with words separated by spaces.
    fn strata(&self, line: &str) -> Ran {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// `run --rm --network none OPTIONS box sh -c SCRIPT`.
    fn script(&self, options: &str, script: &str) -> Ran {
        let words = ["run", "--rm", "--network", "none"].into_iter().chain(options.split_whitespace());
        self.run(&words.chain(["box", "sh", "-c", script]).collect::<Vec<_>>())
    }

    fn root(&self) -> PathBuf {
        self.machine.dir().join("home/.local/share/strata")
    }
}

fn needs() -> Result<(), String> {
    ["busybox", "nsenter", "setpriv", "newuidmap"].into_iter().try_fold((), |(), name| host::program(name))?;
    host::root()
}

const MANY: &str = "me:100000:65536\n";

#[test]
fn a_person_has_containers_images_and_their_own_store() {
    need!(needs());
    let me = Person::with(MANY);
    assert_eq!(me.strata("info -f {{.Driver}}").ok(), "overlay\n");
    for (options, script, expected) in [
        ("", "id -u; tr -s ' ' < /proc/self/uid_map", "0\n 0 1000 1\n 1 100000 65536\n"),
        ("", "touch /x; chown 5:6 /x; stat -c %u:%g /x; rm /etc/group; ls /etc | grep -c group; true", "5:6\n0\n"),
        ("-u user", "id -u; echo ok > /dev/null; echo ok > /dev/stdout; touch /dev/shm/x", "1000\nok\n"),
        ("--init --hostname here --read-only", "hostname; touch /x 2>/dev/null || echo read-only", "here\nread-only\n"),
        ("--tmpfs /t -v data:/data", "touch /t/x; echo kept > /data/x; chown 7 /data/x; stat -c %u /data/x", "7\n"),
        ("-v data:/data", "cat /data/x", "kept\n"),
        (
            "",
            "mount -t tmpfs none /mnt 2>/dev/null || echo refused; echo h > /proc/sys/kernel/hostname 2>/dev/null || echo kept",
            "refused\nkept\n",
        ),
        ("-m 64m", "echo limited", "limited\n"),
    ] {
        let ran = me.script(options, script);
        assert_eq!((ran.code, ran.out.as_str()), (0, expected), "{options}: {script}: {}", ran.err);
    }
    let limited = me.script("-m 64m", "true");
    assert_eq!(limited.err, "WARNING: Control groups are not delegated to you. Limits discarded.\n");
    let host = me.run(&[
        "run",
        "--rm",
        "--network",
        "host",
        "box",
        "sh",
        "-c",
        "cat /sys/class/net/lo/ifindex; ls -d /proc/net",
    ]);
    assert_eq!(host.ok(), "1\n/proc/net\n");
    // All of it is the person's, outside.
    let owners = me.machine.sh(&format!("find {} run -printf '%U\\n' | sort -u | tr '\\n' ' '", me.root().display()));
    assert!(owners.ok().split(' ').all(|uid| matches!(uid, "" | "1000" | "100004" | "100006" | "100999")));
    me.strata("volume rm data").ok();
    me.strata("check").ok();
}

#[test]
fn later_commands_reach_containers_that_run() {
    need!(needs());
    let me = Person::with(MANY);
    me.strata("run -d --network none --name web box sleep 1000").ok();
    me.run(&["run", "-d", "--network", "none", "--name", "theirs", "-u", "user", "box", "sleep", "1000"]).ok();
    assert_eq!(me.strata("ps --format {{.Names}}").ok(), "theirs\nweb\n");
    assert_eq!(
        me.run(&["exec", "web", "sh", "-c", "echo one > /data && chown 5:6 /data && rm /etc/group; id -u"]).ok(),
        "0\n"
    );
    assert_eq!(me.strata("exec -u user web id -u").ok(), "1000\n");
    assert_eq!(me.strata("exec -t web tty").ok().trim(), "/dev/pts/0");
    assert_eq!(me.strata("diff web").ok(), "A /data\nC /etc\nD /etc/group\n");
    me.strata("cp web:/data .").ok();
    assert_eq!(std::fs::read_to_string(me.machine.dir().join("home/data")).unwrap(), "one\n");
    me.strata("cp data web:/copied").ok();
    assert_eq!(me.strata("exec web cat /copied").ok(), "one\n");
    // It cannot be paused without a control group: committing goes on without.
    assert!(me.strata("pause web").fails(1).contains("no control group"));
    me.strata("commit web made").ok();
    assert_eq!(me.strata("run --rm --network none made stat -c %u:%g /data").ok(), "5:6\n");
    assert_eq!(me.strata("stop -t 0 theirs").ok(), "theirs\n");
    assert_eq!(me.strata("kill web").ok(), "web\n");
    assert_eq!(me.strata("inspect -f {{.State.ExitCode}} web").ok(), "137\n");
    me.strata("start web").ok();
    assert_eq!(me.strata("exec web cat /data").ok(), "one\n");
    me.strata("rm -f web theirs").ok();
    assert_eq!(me.strata("ps -aq").ok(), "");
    // Nothing is left running.
    let asked = Instant::now();
    while me.machine.sh("ps ax | grep -c '[s]trata-shim'").out != "0\n" {
        assert!(asked.elapsed() < PATIENCE, "a shim lives on");
    }
    me.strata("check").ok();
}

#[test]
fn commands_at_once_meet_in_one_namespace() {
    need!(needs());
    let me = Person::with(MANY);
    let starting: Vec<_> = (0..4)
        .map(|at| {
            me.command("../strata")
                .args(["run", "-d", "--network", "none", "--name"])
                .arg(format!("at{at}"))
                .args(["box", "sleep", "1000"])
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in starting {
        assert!(child.wait().unwrap().success());
    }
    let pids = me.run(&["inspect", "-f", "{{.State.Pid}}", "at0", "at1", "at2", "at3"]).ok();
    let namespaces: std::collections::BTreeSet<String> =
        pids.lines().map(|pid| me.machine.sh(&format!("readlink /proc/{pid}/ns/user")).ok()).collect();
    assert_eq!(namespaces.len(), 1, "{namespaces:?}");
    me.strata("rm -f at0 at1 at2 at3").ok();
}

#[test]
fn without_further_ids_root_is_everybody() {
    need!(needs());
    let me = Person::with("other:100000:65536\n");
    let ran = me.script("", "tr -s ' ' < /proc/self/uid_map; stat -c %u /bin/busybox; touch /x && rm /etc/group; chown 5 /x 2>/dev/null || echo refused");
    assert_eq!((ran.code, ran.out.as_str()), (0, " 0 1000 1\n0\nrefused\n"), "{}", ran.err);
    assert!(ran.err.contains("note: you have no lines in /etc/subuid and /etc/subgid"), "{}", ran.err);
    assert!(me.script("-u user", "true").fails(125).contains("the user 1000:1000 has no id outside"));
    assert_eq!(me.script("-t", "tty").ok().trim(), "/dev/pts/0");
    me.strata("check").ok();
}

#[test]
fn images_go_to_a_registry_and_come_back() {
    need!(needs(), host::program("docker-registry"));
    let me = Person::with(MANY);
    let registry = Registry::start_in(&me.machine);
    let name = format!("{}/box:1", registry.host());
    me.strata(&format!("tag box {name}")).ok();
    me.strata(&format!("push -q {name}")).ok();
    me.strata(&format!("rmi {name} box")).ok();
    me.strata(&format!("pull -q {name}")).ok();
    assert_eq!(me.run(&["run", "--rm", "--network", "none", &name, "echo", "back"]).ok(), "back\n");
    me.strata("check").ok();
}

#[test]
fn what_only_root_may_is_refused_in_words() {
    need!(needs());
    let me = Person::with(MANY);
    for (line, why) in [
        ("run --rm --network blue box true", "only root makes networks such as blue: use `--network pasta`"),
        ("run --rm --ip 10.0.0.5 box true", "only root makes networks in which containers have addresses"),
    ] {
        let refused = me.strata(line);
        assert!(refused.clone().fails(125).contains(why), "{line}: {refused:?}");
    }
    for (options, why) in [
        ("--userns auto", "needs root on the machine"),
        ("--device /dev/fuse:/dev/other", "cannot make device `/dev/other`"),
    ] {
        let ran = me.script(options, "true");
        assert!(ran.code == 125 && ran.err.contains(why), "{options}: {ran:?}");
    }
    let denied = me.command("../strata").args(["--root", "/var/lib/not-mine", "images"]).output().unwrap();
    assert!(String::from_utf8_lossy(&denied.stderr).contains("permission denied"));
}

#[test]
fn a_person_builds_images() {
    need!(needs());
    let me = Person::with(MANY);
    let file = "FROM box AS made\nWORKDIR /w\nRUN --mount=type=cache,target=/c --mount=type=secret,id=HOME \
        id -u > id && chown 5:6 id && cat /run/secrets/HOME > /dev/null && touch /c/x\n\
        FROM box\nCOPY --from=made --chown=user:user /w /own\nCOPY --from=made /w /kept\nRUN --mount=from=made,target=/m stat -c %u:%g /m/w/id > /seen\n";
    let mut build = me.command("../strata");
    build.args(["build", "-q", "--network", "none", "-t", "mine", "--secret", "id=HOME,env=HOME", "-"]);
    strata_testkit::machine::feed(build, file.as_bytes()).ok();
    let shown = "run --rm --network none mine stat -c %u:%g /own/id /kept/id";
    assert_eq!(me.strata(shown).ok(), "1000:1000\n5:6\n");
    assert_eq!(me.strata("run --rm --network none mine cat /own/id /seen").ok(), "0\n5:6\n");
    me.strata("check").ok();
    me.strata("builder prune -f").ok();
}
