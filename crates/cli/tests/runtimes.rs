//! Containers that other OCI runtimes make look and behave as those of the native one.
#![allow(clippy::unwrap_used, reason = "tests")]

use strata_testkit::image::Image;
use strata_testkit::machine::Ran;
use strata_testkit::{Machine, host, need};

/// A machine with the image `base`, whose runtime works here; says what is missing otherwise.
fn machine(runtime: &str) -> Result<Machine, String> {
    host::root()?;
    host::program("busybox")?;
    host::program(runtime)?;
    let machine = Machine::start();
    // crun 1.8 takes control groups of version 1 or 2, but not both at once: in this machine there is one.
    machine.sh("grep -q ' /sys/fs/cgroup/unified ' /proc/self/mounts && umount /sys/fs/cgroup/unified");
    machine.strata_with_input(["load"], &Image::busybox().docker_archive("base:latest")).ok();
    let tried = run(&machine, runtime, &[], &["true"]);
    match tried.code {
        0 => Ok(machine),
        _ => Err(format!("a host on which {runtime} runs containers: {}", tried.err.trim())),
    }
}

fn run(machine: &Machine, runtime: &str, options: &[&str], command: &[&str]) -> Ran {
    let words = ["run", "--rm", "--network", "none", "--runtime", runtime];
    machine.strata([&words, options, &["base"], command].concat())
}

/// Runs one command natively and with the other runtime, and compares all that can be seen.
fn alike(machine: &Machine, runtime: &str, options: &[&str], command: &[&str]) -> Ran {
    let [native, other] = ["strata", runtime].map(|runtime| run(machine, runtime, options, command));
    assert_eq!(native, other, "{options:?} {command:?}");
    native
}

fn a_runtime_makes_the_same_containers(runtime: &str) {
    let machine = match machine(runtime) {
        Ok(machine) => machine,
        Err(missing) => return host::skipped(module_path!(), &missing),
    };
    let check = |options: &[&str], command: &[&str]| alike(&machine, runtime, options, command);
    let sh = |options: &[&str], script: &str| check(options, &["sh", "-c", script]);
    sh(&["-h", "box", "-e", "A=1"], "id; hostname; pwd; env | grep -v ^SHLVL | sort; umask; exit 7");
    sh(&["-u", "user:wheel", "-w", "/tmp"], "id; echo $HOME; pwd; touch /etc/x");
    sh(&[], "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; mount -t tmpfs x /mnt; unshare -m true");
    sh(
        &["--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges"],
        "grep -E '^(Cap|NoNew)' /proc/self/status",
    );
    sh(&["--privileged"], "grep ^Cap /proc/self/status; ls /dev | grep -c . >/dev/null && echo listed");
    sh(
        &["--read-only", "--tmpfs", "/t:size=1m"],
        "touch /x; touch /t/x && echo wrote; df -k /t | tail -n 1 | awk '{print $2}'",
    );
    sh(&["--ulimit", "nofile=77:88"], "ulimit -n; ulimit -Hn");
    sh(
        &["-m", "64m", "--pids-limit", "50"],
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max 2>&1",
    );
    sh(
        &[],
        "cat /proc/kcore | head -c 1 | wc -c; echo 1 >/proc/sys/kernel/x; ls /sys/firmware; ls -A /dev | grep -v core | sort",
    );
    sh(
        &["-v", "/etc:/host:ro", "--shm-size", "2m"],
        "ls -d /host/passwd; touch /host/x; df -k /dev/shm | tail -n 1 | awk '{print $2}'",
    );
    sh(&["--sysctl", "kernel.msgmax=1234"], "cat /proc/sys/kernel/msgmax");
    assert_eq!(check(&[], &["nosuch"]).code, 127);
    assert_eq!(check(&[], &["/etc/passwd"]).code, 126);
    assert_eq!(check(&["-t"], &["sh", "-c", "tty; stty size; echo err >&2"]).code, 0);
    assert_eq!(machine.strata(["ps", "-aq"]).ok(), "");
    nothing_is_left(&machine);
}

/// No process, mount or file of the runtime stays.
fn nothing_is_left(machine: &Machine) {
    let left =
        machine.sh("ls -A /run/strata/*/oci/* 2>/dev/null; grep -c bundle /proc/self/mountinfo; ls store/containers");
    assert_eq!(left.out.replace("0\n", ""), "", "{left:?}");
}

fn a_runtime_keeps_a_life(runtime: &str) {
    let machine = match machine(runtime) {
        Ok(machine) => machine,
        Err(missing) => return host::skipped(module_path!(), &missing),
    };
    let strata = |words: &[&str]| machine.strata(words);
    let script = "trap 'echo bye; exit 3' TERM; echo hello; echo error >&2; while :; do sleep 0.1; done";
    let words = ["run", "-d", "--name", "box", "--network", "none", "--runtime", runtime, "base", "sh", "-c", script];
    strata(&words).ok();
    assert_eq!(strata(&["inspect", "-f", "{{.HostConfig.Runtime}}", "box"]).ok(), format!("{runtime}\n"));
    assert_eq!(strata(&["exec", "box", "sh", "-c", "echo in; id -u; hostname >/dev/null"]).ok(), "in\n0\n");
    assert_eq!(
        strata(&["exec", "-u", "user", "-w", "/tmp", "-e", "A=b", "box", "sh", "-c", "id -un; pwd; echo $A"]).ok(),
        "user\n/tmp\nb\n"
    );
    assert_eq!(strata(&["exec", "box", "nosuch"]).code, 127);
    assert_eq!(strata(&["exec", "-t", "box", "sh", "-c", "tty >/dev/null && echo terminal"]).ok(), "terminal\r\n");
    assert_eq!(machine.strata_with_input(["exec", "-i", "box", "cat"], b"typed").ok(), "typed");
    strata(&["pause", "box"]).ok();
    assert_eq!(strata(&["ps", "-q", "-f", "status=paused"]).ok().lines().count(), 1);
    strata(&["unpause", "box"]).ok();
    let top = strata(&["top", "box"]).ok();
    assert!(top.contains("sh -c trap"), "{top}");
    strata(&["exec", "box", "sh", "-c", "echo kept >/kept"]).ok();
    assert_eq!(strata(&["snapshot", "box", "one"]).ok(), "box:one\n");
    strata(&["stop", "box"]).ok();
    let logs = strata(&["logs", "box"]);
    assert_eq!((logs.out.as_str(), logs.err.as_str()), ("hello\nbye\n", "error\n"));
    assert_eq!(strata(&["inspect", "-f", "{{.State.ExitCode}}", "box"]).ok(), "3\n");
    strata(&["start", "box"]).ok();
    assert_eq!(strata(&["exec", "box", "cat", "/kept"]).ok(), "kept\n");
    strata(&["rollback", "box", "one"]).ok();
    strata(&["rm", "-f", "box"]).ok();
    nothing_is_left(&machine);
}

#[test]
fn a_runtime_s_container_is_connected_to_networks() {
    need!(host::root(), host::program("busybox"), host::program("runc"), host::program("ip"));
    let machine = Machine::isolated();
    machine.strata_with_input(["load"], &Image::busybox().docker_archive("base:latest")).ok();
    let script = "ip -4 addr show eth0 | grep -c inet; ip route | grep -c default; grep -c $(hostname) /etc/hosts";
    let [native, other] = ["strata", "runc"].map(|runtime| {
        machine.strata(["run", "--rm", "--network", "bridge", "--runtime", runtime, "base", "sh", "-c", script])
    });
    assert_eq!(native, other);
    assert_eq!(native.out, "1\n1\n1\n", "{native:?}");
}

#[test]
fn runc_makes_the_same_containers() {
    a_runtime_makes_the_same_containers("runc");
}

#[test]
fn crun_makes_the_same_containers() {
    a_runtime_makes_the_same_containers("crun");
}

#[test]
fn runc_keeps_a_life() {
    a_runtime_keeps_a_life("runc");
}

#[test]
fn crun_keeps_a_life() {
    a_runtime_keeps_a_life("crun");
}

#[test]
fn what_another_runtime_cannot_do_is_said() {
    need!(host::root(), host::program("busybox"), host::program("runc"));
    let machine = Machine::start();
    machine.strata_with_input(["load"], &Image::busybox().docker_archive("base:latest")).ok();
    let refused = run(&machine, "nosuch", &[], &["true"]).fails(125);
    assert!(refused.starts_with("strata: unknown or invalid runtime name: nosuch\n"), "{refused}");
    let refused = run(&machine, "runc", &["--init"], &["true"]).fails(125);
    assert!(refused.contains("a tiny init is not offered with another runtime"), "{refused}");
    let refused = run(&machine, "/etc/passwd", &[], &["true"]).fails(125);
    assert!(refused.contains("cannot execute the runtime `/etc/passwd`"), "{refused}");
}
