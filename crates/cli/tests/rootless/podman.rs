//! Podman of somebody who is not root, whose containers are made by `strata-runtime`.

use strata_testkit::machine::Ran;
use strata_testkit::{host, need};

use crate::{MANY, Person, needs};

#[test]
fn a_person_s_podman_calls_us() {
    need!(needs(), host::program("podman"), host::program("runc"));
    let me = Person::prepared(MANY, "ln -s strata strata-runtime;");
    let ours = me.machine.dir().join("strata-runtime").display().to_string();
    let podman = |runtime: &str, words: &[&str]| -> Ran {
        let mut command = me.command("podman");
        command.args(["--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--runtime", runtime]);
        command.args(words).output().unwrap().into()
    };
    podman("runc", &["load", "-qi", "../box.tar"]).ok();
    let run = |options: &[&str], script: &str| {
        let words = [&["run", "--rm", "--network", "none"], options, &["localhost/box", "sh", "-c", script]].concat();
        let [theirs, ran] = ["runc", &ours].map(|runtime| podman(runtime, &words));
        assert_eq!((theirs.code, &theirs.out), (ran.code, &ran.out), "{words:?}\n{theirs:?}\n{ran:?}");
        ran
    };
    // Whoever has no control groups is shown none, where runc shows the host's.
    let look = "id; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/uid_map; touch /x && \
                stat -c %u:%g /x; awk '{print $5}' /proc/self/mountinfo | grep -vE '^/(proc|sys/fs/cgroup)/|^/sys/fs/cgroup$' | sort; exit 7";
    assert_eq!(run(&["--hostname", "box"], look).code, 7);
    run(&["--user", "1000:10", "--read-only", "-v", "/etc:/host:ro"], "touch /x; ls -d /host/passwd; id");
    run(&["--userns", "keep-id"], "id -u; cat /proc/self/uid_map");
    run(&["-t"], "tty");
    podman(&ours, &["run", "-d", "--name", "web", "--network", "none", "localhost/box", "sleep", "1000"]).ok();
    assert_eq!(podman(&ours, &["exec", "web", "sh", "-c", "id -u; exit 4"]).code, 4);
    podman(&ours, &["rm", "-f", "-t", "0", "web"]).ok();
}
