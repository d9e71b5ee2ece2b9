//! Operations on what outlives containers: volumes and secrets.

use super::bench::Bench;
use super::{Operation, Scope, check, words};

/// Writes to the volume `data`, which is made if it is not there.
fn write(bench: &Bench<'_>) {
    let base = bench.name("base");
    let run = ["run", "--rm", "--network", "none", "-v", "data:/data", &base, "sh", "-c", "echo new >>/data/file"];
    bench.strata(&run).ok();
}

#[test]
fn the_creation_of_a_volume_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: |_| {},
        begin: |_| {},
        words: |_| words(&["volume", "create", "data"]),
        done: |bench| {
            assert_eq!(bench.strata(&["volume", "ls", "-q"]).ok(), "data\n");
            write(bench);
        },
        again: &[0],
        failpoints_min: 3,
    });
}

#[test]
fn the_removal_of_a_volume_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: write,
        begin: |_| {},
        words: |_| words(&["volume", "rm", "data"]),
        done: |bench| {
            assert_eq!(bench.strata(&["volume", "ls", "-q"]).ok(), "");
            assert_eq!(bench.count("volumes"), 0);
        },
        again: &[0, 1],
        failpoints_min: 3,
    });
}

/// Part of what the image has would look like all of it to whoever starts the container.
#[test]
fn the_filling_of_a_volume_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: |_| {},
        begin: |_| {},
        words: |bench| {
            let create = ["create", "--name", "user", "--network", "none", "-v", "data:/etc"];
            words(&[&create[..], &[&bench.name("base"), "cat", "/etc/passwd", "/etc/group"]].concat())
        },
        done: |bench| {
            assert!(bench.strata(&["start", "-a", "user"]).ok().ends_with("wheel:x:10:user\n"));
            assert_eq!(bench.count("volumes/data"), 1, "what it was filled from is gone");
            bench.strata(&["rm", "user"]).ok();
        },
        again: &[0, 1, 125],
        failpoints_min: 6,
    });
}

const VALUE: &str = "not to be found anywhere else";

fn write_value(bench: &Bench<'_>) {
    std::fs::write(bench.machine.dir().join("value"), VALUE).unwrap();
}

#[test]
fn the_creation_of_a_secret_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: write_value,
        begin: |_| {},
        words: |_| words(&["secret", "create", "key", "value"]),
        done: |bench| {
            assert_eq!(
                bench.machine.sh("cat store/secrets/*/value store/secrets/.[a-z]*/value 2>/dev/null").out,
                VALUE
            );
            let run = ["run", "--rm", "--network", "none", "--secret", "key"];
            let seen = bench.strata(&[&run[..], &[&bench.name("base"), "cat", "/run/secrets/key"]].concat());
            assert_eq!(seen.ok(), VALUE);
        },
        again: &[0, 1],
        failpoints_min: 2,
    });
}

#[test]
fn the_removal_of_a_secret_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: |bench| {
            write_value(bench);
            bench.strata(&["secret", "create", "key", "value"]).ok();
        },
        begin: |_| {},
        words: |_| words(&["secret", "rm", "key"]),
        done: |bench| {
            assert_eq!(bench.strata(&["secret", "ls", "-q"]).ok(), "");
            assert_eq!(
                bench.machine.sh("grep -rl 'not to be found' store/secrets").out,
                "",
                "the value is still there"
            );
        },
        again: &[0, 1],
        failpoints_min: 2,
    });
}
