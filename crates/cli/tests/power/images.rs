//! Operations on images.

use strata_testkit::image::Image;

use super::{Bench, Needs, Operation, check, check_faults, has_layer, words};

const LOAD: Operation = Operation {
    needs: Needs::Nothing,
    prepare: |_| {},
    words: |_| words(&["load", "-q", "-i", "other.tar"]),
    done: |bench| has_layer(bench, "other"),
    again: &[0],
};

/// Brings the other image into the store.
fn load(bench: &Bench) {
    bench.strata(&(LOAD.words)(bench)).ok();
}

#[test]
fn a_load_survives_the_power() {
    check(&LOAD);
}

#[test]
fn a_load_whose_calls_fail_hurts_nothing() {
    check_faults(&LOAD);
}

#[test]
fn a_pull_survives_the_power() {
    check(&Operation {
        needs: Needs::Registry,
        prepare: |_| {},
        words: |bench| words(&["pull", "-q", &format!("{}/other", bench.registry)]),
        done: |bench| has_layer(bench, &format!("{}/other", bench.registry)),
        again: &[0],
    });
}

/// What is on the other side is that side's affair; here everything is as it was, and pushing goes on.
#[test]
fn a_push_survives_the_power() {
    check(&Operation {
        needs: Needs::Registry,
        prepare: |bench| {
            load(bench);
            bench.strata(&["tag", "other", &format!("{}/{}", bench.registry, bench.driver)]).ok();
        },
        words: |bench| words(&["push", "-q", &format!("{}/{}", bench.registry, bench.driver)]),
        done: |bench| {
            let name = format!("{}/{}", bench.registry, bench.driver);
            bench.strata(&["rmi", "-f", "other", &name]).ok();
            bench.strata(&["pull", "-q", &name]).ok();
            has_layer(bench, &name);
        },
        again: &[0],
    });
}

const COMMIT: Operation = Operation {
    needs: Needs::Nothing,
    prepare: super::containers::stopped,
    words: |_| words(&["commit", "box", "committed"]),
    done: |bench| {
        let run = ["run", "--rm", "--network", "none", "committed", "cat", "/root/new"];
        assert_eq!(bench.strata(&run).ok(), "new\n");
    },
    again: &[0],
};

#[test]
fn a_commit_survives_the_power() {
    check(&COMMIT);
}

#[test]
fn a_commit_whose_calls_fail_hurts_nothing() {
    check_faults(&COMMIT);
}

const REMOVE: Operation = Operation {
    needs: Needs::Nothing,
    prepare: load,
    words: |_| words(&["rmi", "other"]),
    done: |bench| assert_eq!(bench.strata(&["images", "-aq"]).ok().lines().count(), 1),
    again: &[0, 1],
};

#[test]
fn a_removal_survives_the_power() {
    check(&REMOVE);
}

#[test]
fn a_removal_whose_calls_fail_hurts_nothing() {
    check_faults(&REMOVE);
}

/// Another image borrows a part of what goes: the rest is given back, or, where it is sealed, what is needed is copied.
const REMOVE_LENDER: Operation = Operation {
    needs: Needs::Nothing,
    prepare: |bench| {
        for (name, files) in [("lender", &[("shared", 600), ("own", 1500)][..]), ("borrower", &[("shared", 600)])] {
            super::feed(bench, &Image::of_files(name, files).docker_archive(name)).ok();
        }
        let lent = bench.machine.sh("ls store/layers/*/*/lenders | wc -l");
        assert!(bench.driver != "erofs" || lent.out == "1\n", "{lent:?}");
    },
    words: |_| words(&["rmi", "lender"]),
    done: |bench| {
        bench.strata(&["image", "prune", "-f"]).ok();
        bench.strata(&["save", "-o", "saved.tar", "borrower"]).ok();
        bench.strata(&["rmi", "borrower"]).ok();
        let layers = bench.machine.sh(&format!("ls store/layers/{} | wc -l", bench.driver));
        assert_eq!(layers.ok(), "1\n", "that of the base");
    },
    again: &[0, 1],
};

#[test]
fn a_removal_of_a_lender_survives_the_power() {
    check(&REMOVE_LENDER);
}

#[test]
fn a_removal_of_a_lender_whose_calls_fail_hurts_nothing() {
    check_faults(&REMOVE_LENDER);
}

const IMPORT: Operation = Operation {
    needs: Needs::Nothing,
    prepare: |_| {},
    words: |_| words(&["import", "layer.tar", "imported"]),
    done: |bench| {
        bench.strata(&["save", "-o", "saved.tar", "imported"]).ok();
        bench.machine.sh("tar -xOf saved.tar | grep -aq data/small").ok();
    },
    again: &[0],
};

#[test]
fn an_import_survives_the_power() {
    check(&IMPORT);
}

#[test]
fn an_import_whose_calls_fail_hurts_nothing() {
    check_faults(&IMPORT);
}

#[test]
fn one_more_layer_survives_the_power() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: |_| {},
        words: |_| words(&["image", "append", "base", "layer.tar", "grown"]),
        done: |bench| has_layer(bench, "grown"),
        again: &[0],
    });
}

#[test]
fn a_name_survives_the_power() {
    check(&Operation {
        needs: Needs::NoDriver,
        prepare: |_| {},
        words: |_| words(&["tag", "base", "second"]),
        done: |bench| drop(bench.strata(&["run", "--rm", "--network", "none", "second", "true"]).ok()),
        again: &[0],
    });
}

#[test]
fn a_collection_survives_the_power() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: |bench| {
            bench.strata(&["image", "keep", "base"]).ok();
            load(bench);
        },
        words: |_| words(&["system", "gc", "--keep", "1KB"]),
        done: |bench| assert_eq!(bench.strata(&["images", "-aq"]).ok().lines().count(), 1),
        again: &[0, 1],
    });
}

#[test]
fn a_move_to_another_driver_survives_the_power() {
    check(&Operation {
        needs: Needs::Nothing,
        prepare: |bench| {
            load(bench);
            super::containers::stopped(bench);
        },
        words: |bench| words(&["system", "migrate", if bench.driver == "overlay" { "vfs" } else { "overlay" }]),
        done: |bench| {
            let driver = bench.strata(&["info", "--format", "{{.Driver}}"]).ok();
            assert_ne!(driver, format!("{}\n", bench.driver));
            has_layer(bench, "other");
            assert_eq!(bench.strata(&["diff", "box"]).ok(), "C /root\nA /root/new\n");
        },
        again: &[0],
    });
}
