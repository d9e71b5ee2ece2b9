//! Limits of somebody who is not root, in groups of version 2 that are theirs. `cargo xtask test-vm` boots a kernel that has
//! nothing else.

use std::path::{Path, PathBuf};

use strata_testkit::machine::Ran;
use strata_testkit::{host, need};

use super::Person;

const GROUPS: &str = "/sys/fs/cgroup";

fn needs() -> Result<(), String> {
    ["busybox", "nsenter", "setpriv"].into_iter().try_fold((), |(), name| host::program(name))?;
    host::root()?;
    let alone = Path::new(GROUPS).join("cgroup.controllers").is_file();
    if alone { Ok(()) } else { Err("control groups of version 2 alone".to_owned()) }
}

/// Runs strata as the person, from a group `me/session` of which `me` is theirs.
fn in_session(me: &Person, line: &str) -> Ran {
    let person = me.command("../strata");
    let mut command = me.machine.command("sh");
    command.args(["-c", "echo $$ >/sys/fs/cgroup/me/session/cgroup.procs && exec \"$@\"", "sh"]);
    command.envs(person.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // What follows the way into the machine, which this command has gone already.
    let own = person.get_args().skip_while(|word| *word != "setpriv");
    command.args(own).args(line.split(' '));
    command.output().unwrap().into()
}

#[test]
fn limits_bind_in_groups_that_are_delegated() {
    need!(needs());
    let me = Person::with("");
    me.machine
        .sh("set -e; cd /sys/fs/cgroup; echo '+memory +pids +cpu' >cgroup.subtree_control; mkdir -p me/session; \
             chown 1000:1000 me me/session; for f in procs subtree_control threads; do chown 1000:1000 me/*/cgroup.$f me/cgroup.$f; done")
        .ok();
    let started = in_session(&me, "run -d --name web --network none -m 32m --pids-limit 7 --cpus 0.5 box sleep 1000");
    assert!(started.code == 0 && !started.err.contains("WARNING"), "{started:?}");
    let dir: PathBuf = Path::new(GROUPS).join("me/strata").join(started.out.trim());
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
    assert_eq!((read("memory.max").as_str(), read("pids.max").as_str()), ("33554432\n", "7\n"));
    assert_eq!(read("cpu.max"), "50000 100000\n");
    // From wherever the person is: here from a group that is root's.
    assert_eq!(me.strata("exec web cat /proc/self/cgroup").ok(), "0::/\n");
    me.strata("update --pids-limit 9 web").ok();
    assert_eq!(read("pids.max"), "9\n");
    me.strata("pause web").ok();
    assert!(read("cgroup.events").contains("frozen 1"));
    me.strata("unpause web").ok();
    assert_eq!(me.strata("stats --no-stream --format {{.PIDs}} web").ok(), "1\n");
    in_session(&me, "rm -f web").ok();
    assert!(!dir.exists(), "its group stayed");
    // Whoever is nowhere near a group of theirs is told.
    let limited = me.script("-m 64m", "true");
    assert!(
        limited.err.ends_with("WARNING: Control groups are not delegated to you. Limits discarded.\n"),
        "{limited:?}"
    );
}
