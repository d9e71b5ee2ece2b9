//! Operations on containers and their snapshots.

use super::{Bench, Needs, Operation, check, words};

/// A stopped container `box` with a new file.
pub(crate) fn stopped(bench: &Bench) {
    let script = "echo new >/root/new";
    bench.strata(&["run", "--name", "box", "--network", "none", "base", "sh", "-c", script]).ok();
}

/// The same with a snapshot `one`, and a change since.
fn snapshotted(bench: &Bench) {
    let script = "test -e /root/one && echo two >/root/two; echo one >/root/one";
    bench.strata(&["run", "--name", "box", "--network", "none", "base", "sh", "-c", script]).ok();
    bench.strata(&["snapshot", "box", "one"]).ok();
    bench.strata(&["start", "-a", "box"]).ok();
}

#[test]
fn a_container_that_is_removed_stays_away() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: stopped,
        words: |_| words(&["rm", "box"]),
        done: |bench| {
            assert_eq!(bench.strata(&["ps", "-aq"]).ok(), "");
            // The directory of all containers may not have been there when it was last written.
            assert_eq!(bench.machine.sh("ls store/containers 2>/dev/null").out, "");
        },
        again: &[0, 1],
    });
}

#[test]
fn a_snapshot_survives_the_power() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: stopped,
        words: |_| words(&["snapshot", "box", "kept"]),
        done: |bench| {
            bench.strata(&["fork", "--no-start", "box:kept", "fork"]).ok();
            assert_eq!(bench.strata(&["run", "--rm", "--network", "none", "base", "echo", "ok"]).ok(), "ok\n");
            bench.strata(&["cp", "fork:/root/new", "new"]).ok();
            assert_eq!(bench.machine.sh("cat new").ok(), "new\n");
        },
        again: &[0, 1],
    });
}

#[test]
fn a_rollback_survives_the_power() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: snapshotted,
        words: |_| words(&["rollback", "box", "one"]),
        done: |bench| {
            assert_eq!(bench.strata(&["diff", "box"]).ok(), "");
            bench.strata(&["cp", "box:/root/one", "one"]).ok();
            assert_eq!(bench.machine.sh("cat one").ok(), "one\n");
            assert_eq!(bench.strata(&["cp", "box:/root/two", "-"]).code, 1);
        },
        again: &[0],
    });
}

#[test]
fn forks_survive_the_power() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: snapshotted,
        words: |_| words(&["fork", "--no-start", "box:one", "first", "second"]),
        done: |bench| {
            for name in ["first", "second"] {
                // Those that were not finished are not there, and their names are free.
                if bench.strata(&["container", "inspect", name]).code != 0 {
                    bench.strata(&["fork", "--no-start", "box:one", name]).ok();
                }
                assert_eq!(bench.strata(&["diff", name]).ok(), "");
                bench.strata(&["cp", &format!("{name}:/root/one"), "one"]).ok();
                assert_eq!(bench.machine.sh("cat one").ok(), "one\n");
            }
        },
        again: &[0, 1],
    });
}
