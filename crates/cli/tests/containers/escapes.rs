//! Hostile containers: what has led out of others, and what wants to take the host down.

use std::process::Stdio;
use std::time::Instant;

use strata_testkit::image::{Compression, Image};
use strata_testkit::machine::Ran;
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};

use super::{Lab, PATIENCE, needs};

/// A lab with an image `evil` besides: links that lead where no container may.
fn lab() -> Lab {
    let lab = Lab::start();
    let tar = Tar::new()
        .symlink("bin/evil", "/proc/self/exe")
        .symlink("work", "/proc/self/fd/8")
        .symlink("dev/null", "/proc/sys/kernel/core_pattern")
        .symlink("dev/console", "/proc/sysrq-trigger")
        .symlink("etc/hosts", "/proc/sys/kernel/core_pattern");
    let image = Image::busybox().layer(tar.finish(), Compression::Plain);
    let file = lab.machine.dir().join("evil.tar");
    std::fs::write(&file, image.docker_archive("evil:latest")).unwrap();
    lab.machine.strata(["load", "-qi", file.to_str().unwrap()]).ok();
    lab
}

fn core_pattern() -> String {
    std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap()
}

/// CVE-2019-5736: root in a container opened the runtime's program as `/proc/<pid>/exe` and wrote to it.
#[test]
fn the_engines_program_cannot_be_overwritten_from_inside() {
    need!(needs());
    let lab = lab();
    let program = lab.machine.dir().join("strata");
    std::fs::copy(host::strata(), &program).unwrap();
    let before = std::fs::read(&program).unwrap();
    let strata = |words: &[&str]| -> Ran {
        lab.machine.command(&program).arg("--root").arg(lab.machine.root()).args(words).output().unwrap().into()
    };
    // Opened while it runs, written to when it has ended: by then it is not busy. Not its own program: that it may spoil.
    let attack = "while :; do for e in /proc/[0-9]*/exe; do case $(readlink $e) in */busybox) continue;; esac; (exec 9<$e; dd if=/etc/passwd of=/proc/self/fd/9 conv=notrunc; \
                  dd if=/etc/passwd of=$e conv=notrunc) 2>/dev/null; done; done";
    strata(&[
        "run",
        "-d",
        "--name",
        "attacker",
        "--network",
        "none",
        "--cap-add",
        "SYS_PTRACE",
        "evil",
        "sh",
        "-c",
        attack,
    ])
    .ok();
    for _ in 0..10 {
        // It may have spoilt its own `true` while that became what it is.
        strata(&["exec", "attacker", "true"]);
        // Its own program again, from inside.
        strata(&["exec", "attacker", "/bin/evil", "version"]);
        strata(&["run", "--rm", "--network", "none", "evil", "/proc/self/exe", "version"]);
    }
    strata(&["rm", "-f", "attacker"]).ok();
    assert!(std::fs::read(&program).unwrap() == before, "the program was overwritten");
}

/// A shim is a copy of the command that started it, on a mount of its own: nothing of the command stays in it, nobody can
/// write its program, and all that is executed is the command and what runs in the container.
#[test]
fn nothing_of_the_command_stays_in_the_shim() {
    need!(needs(), host::program("strace"), host::program("python3"));
    let lab = lab();
    lab.strata("create --name one --network none evil sleep 1000").ok();
    lab.strata("create --name two --network none evil sleep 1000").ok();
    // The shims of `start` are copies of one another.
    for (words, containers) in
        [("run -d --name web --network none evil sleep 1000", "web"), ("start one two", "one two")]
    {
        let mut command = lab.machine.strata_command(words.split(' '));
        Ran::from(command.env("PASSWORD", "hunter2").output().unwrap()).ok();
        let seen = lab.machine.command("python3").args(["-c", SHIM_FROM_OUTSIDE]).output().unwrap();
        let expected = "strata-shim|, environment: , open: [], secret: False, sealed: True\n";
        assert_eq!(Ran::from(seen).ok(), expected.repeat(containers.split(' ').count()));
        lab.strata(&format!("stop -t 0 {containers}")).ok();
    }
    lab.strata("create --name three --network none evil true").ok();
    lab.strata("create --name four --network none evil true").ok();
    let strata = host::strata();
    for (words, expected) in [("run --rm --network none evil true", 2), ("start three four", 3)] {
        let mut traced = lab.machine.command("strace");
        traced.args(["-f", "-qq", "-e", "trace=execve", strata.to_str().unwrap(), "--root"]);
        traced.arg(lab.machine.root()).args(words.split(' '));
        let traced = Ran::from(traced.output().unwrap());
        let executed = traced.err.lines().filter(|line| line.contains("execve") && line.ends_with("= 0")).count();
        assert_eq!((traced.code, executed), (0, expected), "{}", traced.err);
    }
    lab.strata("rm -f web one two three four").ok();
    lab.is_clean();
}

/// What root sees of a shim: its command line, its environment, whether it has files of the store open, whether its memory
/// has a word that was in the command's environment, whether its program is on a mount that nobody can write to.
const SHIM_FROM_OUTSIDE: &str = r#"
import os, re
for pid in filter(str.isdigit, os.listdir("/proc")):
    at = "/proc/" + pid + "/"
    read = lambda name: open(at + name, "rb").read()
    if read("comm") != b"strata-shim\n": continue
    words = [text.replace(b"\0", b"|").decode() for text in (read("cmdline"), read("environ"))]
    opened = [os.readlink(at + "fd/" + fd) for fd in os.listdir(at + "fd")]
    store = [path for path in opened if re.search("strata.db|leases", path)]
    memory, secret = open(at + "mem", "rb", 0), False
    for line in read("maps").decode().splitlines():
        start, end, access = re.match("([0-9a-f]+)-([0-9a-f]+) (\\S+)", line).groups()
        if access.startswith("rw"):
            memory.seek(int(start, 16))
            secret = secret or b"hunter2" in memory.read(int(end, 16) - int(start, 16))
    sealed = bool(os.statvfs(at + "exe").f_flag & os.ST_RDONLY)
    print(f"{words[0]}, environment: {words[1]}, open: {store}, secret: {secret}, sealed: {sealed}")
"#;

/// CVE-2024-21626: a working directory by way of a descriptor that the runtime had left open on the host.
#[test]
fn no_working_directory_leads_outside() {
    need!(needs());
    let lab = lab();
    std::fs::write(lab.machine.dir().join("mark"), "host").unwrap();
    let script = format!("pwd; cat ../../../../../../../../..{}/mark", lab.machine.dir().display());
    lab.strata("run -d --name web --network none evil sleep 1000").ok();
    let dirs = (0..24).flat_map(|fd| [format!("/proc/self/fd/{fd}"), format!("/proc/1/fd/{fd}")]);
    for dir in dirs.chain(["/work".to_owned(), "/proc/1/cwd".to_owned(), "/proc/self/root".to_owned()]) {
        let ran = lab.machine.strata(["run", "--rm", "--network", "none", "-w", &dir, "evil", "sh", "-c", &script]);
        let joined = lab.machine.strata(["exec", "-w", &dir, "web", "sh", "-c", &script]);
        for ran in [ran, joined] {
            assert!(ran.code != 0 && !ran.out.contains("host"), "{dir}: {ran:?}");
        }
    }
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

/// CVE-2025-31133 and CVE-2025-52565: `/dev/null` and `/dev/console` of the image were links to what must be protected, and
/// were mounted over it.
#[test]
fn links_in_the_place_of_devices_unmask_nothing() {
    need!(needs());
    let lab = lab();
    let before = core_pattern();
    let dev = lab.machine.dir().join("dev");
    std::fs::create_dir(&dev).unwrap();
    for (name, target) in
        [("null", "/proc/sys/kernel/core_pattern"), ("console", "/proc/sysrq-trigger"), ("pts", "/proc")]
    {
        std::os::unix::fs::symlink(target, dev.join(name)).unwrap();
    }
    let script = "wc -c < /proc/keys; ls /sys/firmware | wc -l; for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger; do \
                  (echo pwned > $f) 2>/dev/null && echo written $f; done; echo end";
    let own = format!("-v {}:/dev", dev.display());
    for options in ["", "-t", &own] {
        let ran = lab.machine.strata(
            ["run", "--rm", "--network", "none"]
                .into_iter()
                .chain(options.split_whitespace())
                .chain(["evil", "sh", "-c", script]),
        );
        assert_eq!(ran.out.replace('\r', ""), "0\n0\nend\n", "{options}: {}", ran.err);
    }
    let terminal = lab.strata(&format!("run --rm --network none -t {own} evil true"));
    assert!(terminal.fails(125).contains("a terminal needs the standing /dev"));
    assert_eq!(core_pattern(), before);
    lab.is_clean();
}

/// CVE-2025-52881: what the runtime writes below `/proc` went to files that the container had put there.
#[test]
fn settings_are_not_written_to_a_proc_of_the_containers_own() {
    need!(needs());
    let lab = lab();
    let before = core_pattern();
    let proc = lab.machine.dir().join("proc");
    for dir in ["self/attr/apparmor", "thread-self", "sys/net/ipv4", "1"] {
        std::fs::create_dir_all(proc.join(dir)).unwrap();
    }
    std::fs::write(proc.join("victim"), "clean").unwrap();
    for name in ["self/oom_score_adj", "1/oom_score_adj", "sys/net/ipv4/ip_forward", "self/attr/exec"] {
        std::os::unix::fs::symlink("/proc/victim", proc.join(name)).unwrap();
    }
    let mount = format!("-v {}:/proc", proc.display());
    let refused = lab.script(&format!("{mount} --sysctl net.ipv4.ip_forward=1"), "true");
    assert!(refused.fails(125).contains("kernel settings need the standing /proc"));
    assert_eq!(lab.script(&format!("{mount} --oom-score-adj 500"), "cat /proc/victim").ok(), "clean");
    assert_eq!(std::fs::read_to_string(proc.join("victim")).unwrap(), "clean");
    assert_eq!(core_pattern(), before);
    lab.is_clean();
}

#[test]
fn programs_gain_no_privileges_unless_that_is_asked_for() {
    need!(needs());
    let lab = Lab::start();
    let script = "grep NoNewPrivs /proc/self/status | cut -f2";
    assert_eq!(lab.script("", script).ok(), "1\n");
    assert_eq!(lab.script("--security-opt no-new-privileges=false", script).ok(), "0\n");
    assert_eq!(lab.script("--privileged", script).ok(), "0\n");
    // A set-user-id program of root's, started by somebody else.
    let script = "mkdir /s && cp /bin/busybox /s/ping && chmod 4755 /s/ping && \
                  su user -c '/s/ping -c 1 127.0.0.1 >/dev/null 2>&1 && echo gained || echo refused'";
    assert_eq!(lab.script("", script).ok(), "refused\n");
    assert_eq!(lab.script("--security-opt no-new-privileges=false", script).ok(), "gained\n");
    lab.is_clean();
}

#[test]
fn a_fork_bomb_takes_nobody_down() {
    need!(needs());
    let lab = Lab::start();
    if std::path::Path::new("/sys/fs/cgroup/pids").is_dir() {
        assert_eq!(lab.script("", "cat /sys/fs/cgroup/pids/pids.max").ok(), "4096\n");
        assert_eq!(lab.script("--pids-limit -1", "cat /sys/fs/cgroup/pids/pids.max").ok(), "max\n");
    }
    let bomb = ["run", "-d", "--name", "bomb", "--network", "none", "--pids-limit", "40", "box", "sh", "-c"];
    lab.machine.strata([&bomb[..], &["b() { b | b & }; b; while :; do sleep 1; done"]].concat()).ok();
    assert_eq!(lab.script("", "echo alive").ok(), "alive\n");
    let counted = lab.strata("top bomb").out.lines().count();
    assert!(counted <= 41, "{counted}");
    lab.strata("rm -f bomb").ok();
    assert_eq!(lab.machine.sh("ps ax | grep -c '[b]() { b'").out, "0\n");
    lab.is_clean();
}

#[test]
fn floods_fill_neither_the_log_nor_memory() {
    need!(needs());
    let lab = Lab::start();
    // More output than the log may hold, and nobody reads it.
    let options = "run -d --name flood --network none --log-opt max-size=100k --log-opt max-file=2 box sh -c";
    let words: Vec<&str> = options.split(' ').collect();
    let script = "yes 0123456789 | head -c 22000000; echo end";
    let id = lab.machine.strata([&words[..], &[script]].concat()).ok();
    lab.strata("wait flood").ok();
    assert_eq!(lab.strata("logs --tail 1 flood").ok(), "end\n");
    let kept = lab.machine.sh(&format!(
        "du -cb {}/containers/{}/log.json* | tail -1 | cut -f1",
        lab.machine.root().display(),
        id.trim()
    ));
    assert!(kept.ok().trim().parse::<u64>().unwrap() <= 300_000);
    // A terminal that is never read, and one who attached and reads nothing.
    let script = "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; echo end; exec sleep 1000";
    let words = ["run", "-d", "-t", "--name", "screen", "--network", "none", "box", "sh", "-c", script];
    lab.machine.strata(words).ok();
    let (_unread, pipe) = std::io::pipe().unwrap();
    let mut idle =
        lab.machine.strata_command(["attach", "--no-stdin", "screen"]).stdout(Stdio::from(pipe)).spawn().unwrap();
    lab.until("logs --tail 1 screen", |line| line.starts_with("end"));
    lab.strata("rm -f flood screen").ok();
    let _ended = idle.kill();
    idle.wait().unwrap();
    // Memory that is a file system.
    let full =
        lab.script("--shm-size 1m", "dd if=/dev/zero of=/dev/shm/x bs=1M count=4 2>/dev/null || stat -c %s /dev/shm/x");
    assert_eq!(full.ok(), "1048576\n");
    lab.is_clean();
}

#[test]
fn a_memory_hog_is_ended_and_that_is_said() {
    need!(needs());
    let lab = Lab::start();
    let words = ["run", "--name", "hog", "--network", "none", "-m", "32m", "--memory-swap", "32m", "box"];
    let ran = lab.machine.strata([&words[..], &["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"]].concat());
    assert_eq!(ran.code, 137, "{ran:?}");
    assert_eq!(lab.strata("inspect -f {{.State.OOMKilled}} hog").ok(), "true\n");
    lab.strata("rm hog").ok();
    lab.is_clean();
}

#[test]
fn links_that_change_while_files_are_copied_lead_nowhere() {
    need!(needs());
    let lab = Lab::start();
    let outside = lab.machine.dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("mark"), "of the host").unwrap();
    lab.machine.sh("mkdir -p in && echo copied > in/file").ok();
    let script = format!(
        "mkdir -p /d /s; echo inside > /s/mark; while :; do rm -rf /d/x; mkdir /d/x; rm -rf /d/x; ln -s {0} /d/x; \
         rm -f /s/l; ln -s {0}/mark /s/l; rm -f /s/l; echo inside > /s/l; done",
        outside.display()
    );
    lab.machine.strata(["run", "-d", "--name", "swapper", "--network", "none", "box", "sh", "-c", &script]).ok();
    lab.until("exec swapper ls /s", |names| names.contains("mark"));
    let started = Instant::now();
    for _ in 0..20 {
        assert!(started.elapsed() < PATIENCE);
        // Any of these may fail: what it finds changes under it.
        for line in
            ["cp in/file swapper:/d/x/file", "cp in swapper:/d/x", "cp swapper:/d/x out", "cp -L swapper:/s/l out-l"]
        {
            lab.strata(line);
        }
        let names = std::fs::read_dir(&outside).unwrap().count();
        assert_eq!(names, 1, "something was written outside");
        let found = lab.machine.sh("find out out-l -type f -exec cat {} + 2>/dev/null; rm -rf out out-l");
        assert!(!found.out.contains("of the host"), "{}", found.out);
    }
    lab.strata("rm -f swapper").ok();
    lab.is_clean();
}
