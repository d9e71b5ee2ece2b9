//! Operations on containers and their snapshots.

use strata_testkit::host;
use strata_testkit::need;

use super::bench::{Bench, Ground};
use super::{Operation, Scope, check, kill, words};

/// A stopped container `box` with a new file.
pub(crate) fn stopped(bench: &Bench<'_>) {
    let base = bench.name("base");
    bench.strata(&["run", "--name", "box", "--network", "none", &base, "sh", "-c", "echo new >/root/new"]).ok();
}

/// The image `image`, and a stopped container of another.
pub(crate) fn image_and_container(bench: &Bench<'_>) {
    bench.obtain_image();
    stopped(bench);
}

/// A stopped container `box` with a snapshot `one`, and a change since.
pub(crate) fn snapshotted(bench: &Bench<'_>) {
    let base = bench.name("base");
    let script = "test -e /root/one && echo two >/root/two; echo one >/root/one";
    bench.strata(&["run", "--name", "box", "--network", "none", &base, "sh", "-c", script]).ok();
    bench.strata(&["snapshot", "box", "one"]).ok();
    bench.strata(&["start", "-a", "box"]).ok();
}

#[test]
fn create_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: |_| {},
        begin: |_| {},
        words: |bench| words(&["create", "--name", "box", "--network", "none", &bench.name("base"), "true"]),
        done: |bench| drop(bench.strata(&["rm", "box"]).ok()),
        again: &[0, 1, 125],
        failpoints_min: 4,
    });
}

#[test]
fn rm_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: stopped,
        begin: |_| {},
        words: |_| words(&["rm", "box"]),
        done: |bench| {
            assert_eq!(bench.strata(&["ps", "-aq"]).ok(), "");
            assert_eq!(bench.count("containers"), 0);
        },
        again: &[0, 1],
        failpoints_min: 5,
    });
}

#[test]
fn snapshot_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: stopped,
        begin: |_| {},
        words: |_| words(&["snapshot", "box", "kept"]),
        done: |bench| {
            let layers = bench.count(&format!("layers/{}", bench.driver));
            assert_eq!(layers, 2, "one of the image and one of the snapshot");
            bench.strata(&["fork", "--no-start", "box:kept", "fork"]).ok();
            bench.strata(&["cp", "fork:/root/new", "-"]).ok();
        },
        again: &[0, 1],
        failpoints_min: 8,
    });
}

#[test]
fn rollback_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: snapshotted,
        begin: |_| {},
        words: |_| words(&["rollback", "box", "one"]),
        done: |bench| {
            assert_eq!(bench.strata(&["diff", "box"]).ok(), "");
            bench.strata(&["cp", "box:/root/one", "-"]).ok();
            assert_eq!(bench.strata(&["cp", "box:/root/two", "-"]).code, 1);
        },
        again: &[0],
        failpoints_min: 7,
    });
}

/// Files into a container that does not run: what is copied before the end is there, and the rest comes with the next copy.
#[test]
fn cp_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: stopped,
        begin: |bench| {
            let dir = bench.machine.dir().join("dir/below");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("file"), "copied\n").unwrap();
        },
        words: |_| words(&["cp", "dir", "box:/root"]),
        done: |bench| {
            let changes = "C /root\nA /root/dir\nA /root/dir/below\nA /root/dir/below/file\nA /root/new\n";
            assert_eq!(bench.strata(&["diff", "box"]).ok(), changes);
            bench.strata(&["commit", "box", "committed"]).ok();
            let run = ["run", "--rm", "--network", "none", "committed", "cat", "/root/dir/below/file"];
            assert_eq!(bench.strata(&run).ok(), "copied\n");
        },
        again: &[0],
        failpoints_min: 2,
    });
}

/// Whoever starts a container next finds it as it was, or put back, and nothing in between.
#[test]
fn a_container_starts_however_its_rollback_was_killed() {
    need!(host::root(), host::program("busybox"));
    let Some(template) = Bench::new(None, Ground::FIRST) else { return };
    snapshotted(&template);
    // Now it stands on other layers than those of the snapshot it is put back to.
    template.strata(&["rollback", "box", "one"]).ok();
    template.strata(&["start", "-a", "box"]).ok();
    template.strata(&["snapshot", "box", "two"]).ok();
    template.strata(&["rollback", "box", "two"]).ok();
    for failpoint in ["engine.rollback.recorded", "snapshot.reset.unsettled", "snapshot.reset.taken-away"] {
        let bench = template.copy(failpoint.to_owned());
        kill(&bench, &["rollback", "box", "one"], failpoint);
        bench.strata(&["start", "-a", "box"]).ok();
        assert_eq!(bench.strata(&["diff", "box"]).ok(), "C /root\nC /root/one\nA /root/two\n", "{failpoint}");
        bench.assert_whole(failpoint);
    }
}

#[test]
fn fork_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: snapshotted,
        begin: |_| {},
        words: |_| words(&["fork", "--no-start", "box:one", "first", "second"]),
        done: |bench| {
            for name in ["first", "second"] {
                // Those that were not finished are not there, and their names are free.
                if bench.strata(&["container", "inspect", name]).code != 0 {
                    bench.strata(&["fork", "--no-start", "box:one", name]).ok();
                }
                bench.strata(&["cp", &format!("{name}:/root/one"), "-"]).ok();
            }
        },
        again: &[0, 1],
        failpoints_min: 4,
    });
}

/// A run whose writable layer is that of the one before: whoever dies on the way leaves a container like any other.
#[test]
fn a_short_run_can_be_killed_anywhere() {
    const SHORT: [&str; 4] = ["run", "--rm", "--network", "none"];
    check(&Operation {
        scope: Scope::Files,
        prepare: |_| {},
        begin: |bench| drop(bench.strata(&[&SHORT[..], &[&bench.name("base"), "true"]].concat()).ok()),
        words: |bench| words(&[&SHORT[..], &[&bench.name("base"), "true"]].concat()),
        done: |bench| {
            for id in bench.strata(&["ps", "-aq"]).ok().lines() {
                bench.strata(&["rm", "-f", id]).ok();
            }
            let script = "ls /new 2>&1; echo new >/new; cat /new";
            for _ in 0..2 {
                let seen = bench.strata(&[&SHORT[..], &[&bench.name("base"), "sh", "-c", script]].concat()).ok();
                assert_eq!(seen, "ls: /new: No such file or directory\nnew\n");
            }
            assert_eq!(bench.count("containers"), 0);
        },
        again: &[0],
        failpoints_min: 8,
    });
}
