//! Operations on what outlives containers: volumes and secrets.

use super::{Bench, Needs, Operation, check, words};

fn volume(bench: &Bench) {
    bench.strata(&["volume", "create", "data"]).ok();
}

#[test]
fn a_volume_survives_the_power() {
    check(&Operation {
        needs: Needs::NoDriver,
        prepare: |_| {},
        words: |_| words(&["volume", "create", "data"]),
        done: |bench| {
            assert_eq!(bench.strata(&["volume", "ls", "-q"]).ok(), "data\n");
            let run = ["run", "--rm", "--network", "none", "-v", "data:/data", "base", "stat", "-c", "%a", "/data"];
            assert_eq!(bench.strata(&run).ok(), "755\n");
        },
        again: &[0],
    });
}

#[test]
fn a_volume_that_is_removed_stays_away() {
    check(&Operation {
        needs: Needs::NoDriver,
        prepare: volume,
        words: |_| words(&["volume", "rm", "data"]),
        done: |bench| {
            assert_eq!(bench.strata(&["volume", "ls", "-q"]).ok(), "");
            assert_eq!(bench.machine.sh("ls store/volumes").out, "");
        },
        again: &[0, 1],
    });
}

/// What a container finds in a new volume is the image's: it is all there, or will be.
#[test]
fn what_a_volume_is_filled_with_survives_the_power() {
    check(&Operation {
        needs: Needs::NoDriver,
        prepare: |_| {},
        words: |_| {
            words(&["create", "--name", "user", "--network", "none", "-v", "data:/etc", "base", "cat", "/etc/passwd"])
        },
        done: |bench| {
            assert!(bench.strata(&["start", "-a", "user"]).ok().starts_with("root:x:0:0:"), "the file is empty");
        },
        again: &[0, 1, 125],
    });
}

#[test]
fn a_secret_survives_the_power() {
    check(&Operation {
        needs: Needs::NoDriver,
        prepare: |_| {},
        words: |_| words(&["secret", "create", "key", "layer.tar"]),
        done: |bench| {
            let run = ["run", "--rm", "--network", "none", "--secret", "key", "base", "wc", "-c", "/run/secrets/key"];
            assert!(bench.strata(&run).ok().starts_with("40"));
        },
        again: &[0, 1],
    });
}

#[test]
fn a_secret_that_is_removed_stays_away() {
    check(&Operation {
        needs: Needs::NoDriver,
        prepare: |bench| drop(bench.strata(&["secret", "create", "key", "layer.tar"]).ok()),
        words: |_| words(&["secret", "rm", "key"]),
        done: |bench| {
            assert_eq!(bench.strata(&["secret", "ls", "-q"]).ok(), "");
            // Nor is its value anywhere.
            assert_eq!(bench.machine.sh("find store/secrets -name value").out, "");
        },
        again: &[0, 1],
    });
}
