//! What gives back room, whatever it was taken by.

use super::builds::built;
use super::containers::{image_and_container, snapshotted};
use super::{Operation, Scope, check, words};

#[test]
fn the_removal_of_a_snapshot_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: |bench| {
            snapshotted(bench);
            bench.strata(&["snapshot", "box", "two"]).ok();
        },
        begin: |_| {},
        words: |_| words(&["snapshot", "rm", "box:one"]),
        done: |bench| {
            assert_eq!(bench.strata(&["snapshot", "ls", "-q", "box"]).ok(), "box:two\n");
            bench.strata(&["rollback", "box", "two"]).ok();
            bench.strata(&["cp", "box:/root/two", "-"]).ok();
        },
        again: &[0, 1],
        failpoints_min: 2,
    });
}

#[test]
fn container_prune_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: |bench| {
            snapshotted(bench);
            bench.strata(&["create", "--name", "other", &bench.name("base")]).ok();
        },
        begin: |_| {},
        words: |_| words(&["container", "prune", "-f"]),
        done: |bench| {
            assert_eq!(bench.strata(&["ps", "-aq"]).ok(), "");
            assert_eq!(bench.count("containers"), 0);
            // What was killed before it had removed a snapshot's layer left that to the next collection.
            bench.strata(&["image", "prune", "-f"]).ok();
            assert_eq!(bench.count(&format!("layers/{}", bench.driver)), 1, "the base image has a layer");
        },
        again: &[0],
        failpoints_min: 5,
    });
}

#[test]
fn image_prune_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: image_and_container,
        begin: |_| {},
        words: |_| words(&["image", "prune", "-af"]),
        done: |bench| {
            assert_eq!(bench.strata(&["images", "-aq"]).ok().lines().count(), 1, "the one that a container has");
            assert_eq!(bench.count("blobs/sha256"), 1, "the base image has a config");
            assert_eq!(bench.count(&format!("layers/{}", bench.driver)), 1, "and a layer");
            assert_eq!(bench.strata(&["diff", "box"]).ok(), "C /root\nA /root/new\n");
        },
        again: &[0],
        failpoints_min: 4,
    });
}

/// Everything at once: a container with a volume that has no name, an image that has none, and steps of a build.
#[test]
fn system_prune_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Steps,
        prepare: |bench| {
            let base = bench.name("base");
            bench.obtain_image();
            bench.strata(&["tag", &base, &bench.name("image")]).ok();
            let run =
                ["run", "--name", "box", "--network", "none", "-v", "/data", &base, "sh", "-c", "echo >/data/new"];
            bench.strata(&run).ok();
            built(bench);
            bench.strata(&["rmi", "built"]).ok();
        },
        begin: |_| {},
        words: |_| words(&["system", "prune", "-f", "--volumes"]),
        done: |bench| {
            assert_eq!(bench.strata(&["ps", "-aq"]).ok(), "");
            assert_eq!(bench.strata(&["volume", "ls", "-q"]).ok(), "");
            assert_eq!(bench.strata(&["images", "-aq"]).ok().lines().count(), 2, "two names of the base image");
            assert_eq!(["containers", "volumes", "blobs/sha256"].map(|dir| bench.count(dir)), [0, 0, 1]);
            assert_eq!(bench.count(&format!("layers/{}", bench.driver)), 1);
        },
        again: &[0],
        failpoints_min: 8,
    });
}

#[test]
fn builder_prune_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Steps,
        prepare: |bench| {
            built(bench);
            bench.strata(&["rmi", "built"]).ok();
        },
        begin: |_| {},
        words: |_| words(&["builder", "prune", "-af"]),
        done: |bench| {
            assert!(bench.strata(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]).ok().ends_with(" 0\n"));
            // What was killed before it had removed a layer left that to the next collection.
            bench.strata(&["image", "prune", "-f"]).ok();
            assert_eq!(bench.count(&format!("layers/{}", bench.driver)), 1, "the base image has a layer");
            assert_eq!(bench.machine.sh("find store/build/caches -mindepth 2").ok(), "");
        },
        again: &[0],
        failpoints_min: 4,
    });
}

#[test]
fn volume_prune_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: |bench| {
            let base = bench.name("base");
            let run =
                ["run", "--rm", "--network", "none", "-v", "one:/1", "-v", "two:/2", &base, "touch", "/1/a", "/2/a"];
            bench.strata(&run).ok();
        },
        begin: |_| {},
        words: |_| words(&["volume", "prune", "-af"]),
        done: |bench| {
            assert_eq!(bench.strata(&["volume", "ls", "-q"]).ok(), "");
            assert_eq!(bench.count("volumes"), 0);
        },
        again: &[0],
        failpoints_min: 3,
    });
}
