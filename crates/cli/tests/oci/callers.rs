//! Other engines whose containers are made by `strata-runtime`.

use std::os::unix::fs::symlink;

use strata_testkit::image::Image;
use strata_testkit::machine::Ran;
use strata_testkit::peers::Docker;
use strata_testkit::{Machine, host, need};

/// The program by the name by which it is a runtime.
fn runtime(machine: &Machine) -> String {
    let path = machine.dir().join("strata-runtime");
    symlink(host::strata(), &path).unwrap();
    path.display().to_string()
}

/// The same words for an engine with its own runtime and with ours.
fn alike(engine: &dyn Fn(&str, &[&str]) -> Ran, theirs: &str, ours: &str, words: &[&str]) -> Ran {
    let [theirs, ours] = [theirs, ours].map(|runtime| engine(runtime, words));
    assert_eq!((theirs.code, &theirs.out), (ours.code, &ours.out), "{words:?}\n{theirs:?}\n{ours:?}");
    ours
}

// Left out is what runc does not do as it is told (the tmpfs around control groups stays writable), and whose device hides a
// file: the container's or the host's.
const LOOK: &str = "id; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; ls -A /dev | grep -v core | sort; \
                    ulimit -n; cat /proc/1/oom_score_adj; awk '{print $5, $6}' /proc/self/mountinfo | sort | \
                    grep -vE '^/(proc/(keys|timer_list)|sys/fs/cgroup) '; exit 7";

#[test]
fn podman_s_containers_are_the_same() {
    need!(host::root(), host::program("busybox"), host::program("podman"), host::program("runc"), host::program("ip"));
    let machine = Machine::isolated();
    let ours = runtime(&machine);
    let podman = |runtime: &str, words: &[&str]| -> Ran {
        let mut command = machine.command("podman");
        command.args(["--root", "podman", "--runroot", "/run/podman-test", "--cgroup-manager", "cgroupfs"]);
        command.args(["--storage-driver", "vfs", "--runtime", runtime]).args(words).output().unwrap().into()
    };
    std::fs::write(machine.dir().join("base.tar"), Image::busybox().docker_archive("base:latest")).unwrap();
    podman("runc", &["load", "-qi", "base.tar"]).ok();
    let run = |options: &[&str], script: &str| {
        let words = ["run", "--rm", "--network", "none", "--hostname", "box"];
        let command = ["localhost/base", "sh", "-c", script];
        alike(&podman, "runc", &ours, &[&words, options, &command].concat())
    };
    assert_eq!(run(&[], LOOK).code, 7);
    run(&["--user", "1000:10", "--read-only", "-v", "/etc:/host:ro"], &format!("touch /x; ls -d /host/passwd; {LOOK}"));
    run(
        &["--memory", "64m", "--pids-limit", "50"],
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max 2>&1",
    );
    run(
        &["--uidmap", "0:100000:65536"],
        "id -u; cat /proc/self/uid_map; touch /tmp/x && ls -ln /tmp/x | awk '{print $3}'",
    );
    run(&["--privileged"], "grep ^Cap /proc/self/status");
    run(&["-t"], "tty; echo err >&2");
    assert_eq!(podman(&ours, &["run", "--rm", "--network", "none", "localhost/base", "nosuch"]).code, 127);
    assert_eq!(podman(&ours, &["run", "--rm", "--network", "none", "localhost/base", "/etc/passwd"]).code, 126);
    let box_words = ["run", "-d", "--name", "box", "--network", "none", "localhost/base", "sleep", "1000"];
    podman(&ours, &box_words).ok();
    assert_eq!(podman(&ours, &["exec", "box", "sh", "-c", "echo in; exit 4"]).code, 4);
    assert_eq!(podman(&ours, &["exec", "-t", "box", "tty"]).ok().trim_end(), "/dev/pts/0");
    podman(&ours, &["pause", "box"]).ok();
    assert_eq!(podman(&ours, &["inspect", "-f", "{{.State.Status}}", "box"]).ok(), "paused\n");
    podman(&ours, &["unpause", "box"]).ok();
    podman(&ours, &["kill", "box"]).ok();
    assert_eq!(podman(&ours, &["wait", "box"]).ok(), "137\n");
    podman(&ours, &["rm", "box"]).ok();
    let left = machine.sh("ls /run/strata-runtime 2>/dev/null").out;
    assert_eq!(left, "", "nothing is remembered");
}

#[test]
fn docker_s_containers_are_the_same() {
    need!(host::root(), host::program("busybox"), Docker::available(), host::program("ip"));
    let machine = Machine::isolated();
    let ours = runtime(&machine);
    let docker = Docker::start_with(&machine, &["--add-runtime", &format!("ours={ours}")]);
    std::fs::write(machine.dir().join("base.tar"), Image::busybox().docker_archive("base:latest")).unwrap();
    docker.run(["load", "-qi", machine.dir().join("base.tar").to_str().unwrap()]).ok();
    let engine = |runtime: &str, words: &[&str]| {
        let (verb, rest) = words.split_first().unwrap();
        docker.run([&[*verb, "--runtime", runtime], rest].concat())
    };
    let run = |options: &[&str], script: &str| {
        let words = ["run", "--rm", "--network", "none", "--hostname", "box"];
        alike(&engine, "runc", "ours", &[&words, options, &["base", "sh", "-c", script]].concat())
    };
    assert_eq!(run(&[], LOOK).code, 7);
    run(&["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-m", "64m"], LOOK);
    assert_eq!(docker.run(["run", "--rm", "--runtime", "ours", "--network", "none", "base", "nosuch"]).code, 127);
    docker.run(["run", "-d", "--name", "box", "--runtime", "ours", "--network", "none", "base", "sleep", "1000"]).ok();
    assert_eq!(docker.run(["exec", "box", "sh", "-c", "echo in; exit 4"]).code, 4);
    docker.run(["pause", "box"]).ok();
    docker.run(["unpause", "box"]).ok();
    assert!(docker.run(["top", "box"]).ok().contains("sleep 1000"));
    docker.run(["rm", "-f", "box"]).ok();
}

#[test]
fn containerd_s_containers_are_the_same() {
    need!(host::root(), host::program("busybox"), host::program("ctr"), Docker::available(), host::program("ip"));
    let machine = Machine::isolated();
    let ours = runtime(&machine);
    // Its daemon has a containerd.
    let _docker = Docker::start(&machine);
    std::fs::write(machine.dir().join("base.tar"), Image::busybox().docker_archive("base:latest")).unwrap();
    let ctr = |words: &[&str]| -> Ran {
        let mut command = machine.command("ctr");
        command.args(["-a", "/run/docker-test/containerd/containerd.sock"]).args(words).output().unwrap().into()
    };
    ctr(&["images", "import", "base.tar"]).ok();
    let engine = |runtime: &str, words: &[&str]| {
        let (verb, rest) = words.split_first().unwrap();
        ctr(&[&[*verb, "--runc-binary", runtime], rest].concat())
    };
    let image = "docker.io/library/base:latest";
    assert_eq!(alike(&engine, "runc", &ours, &["run", "--rm", image, "one", "sh", "-c", LOOK]).code, 7);
    alike(&engine, "runc", &ours, &["run", "--rm", "--memory-limit", "67108864", "--user", "1000", image, "one", "id"]);
    engine(&ours, &["run", "-d", image, "box", "sleep", "1000"]).ok();
    assert_eq!(ctr(&["tasks", "exec", "--exec-id", "e", "box", "sh", "-c", "echo in; exit 4"]).code, 4);
    ctr(&["tasks", "pause", "box"]).ok();
    assert!(ctr(&["tasks", "ls"]).ok().contains("PAUSED"));
    ctr(&["tasks", "resume", "box"]).ok();
    ctr(&["tasks", "delete", "--force", "box"]).ok();
    ctr(&["containers", "delete", "box"]).ok();
}
