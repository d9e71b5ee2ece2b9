//! Operations on images.

use serde_json::Value;
use strata_testkit::image::{Compression, Image};
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};

use super::bench::{Bench, Ground};
use super::containers::{image_and_container, stopped};
use super::{Operation, Scope, check, words};

#[test]
fn pull_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Registry,
        prepare: |_| {},
        begin: |_| {},
        words: |bench| words(&["pull", "-q", &bench.name("image")]),
        done: |bench| drop(bench.strata(&["save", "-o", "image.tar", &bench.name("image")]).ok()),
        again: &[0],
        failpoints_min: 8,
    });
}

#[test]
fn load_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: |bench| {
            bench.obtain_image();
            bench.strata(&["save", "-o", "image.tar", &bench.name("image")]).ok();
            bench.strata(&["rmi", &bench.name("image")]).ok();
        },
        begin: |_| {},
        words: |_| words(&["load", "-q", "-i", "image.tar"]),
        done: |bench| drop(bench.strata(&["save", "-o", "again.tar", &bench.name("image")]).ok()),
        again: &[0],
        failpoints_min: 6,
    });
}

#[test]
fn push_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Registry,
        prepare: |bench| bench.obtain_image(),
        // Each goes to a repository of its own, for what is there already is not pushed.
        begin: |bench| {
            let new = bench.name(&format!("pushed-{}", bench.number));
            bench.strata(&["tag", &bench.name("image"), &new]).ok();
        },
        words: |bench| words(&["push", "-q", &bench.name(&format!("pushed-{}", bench.number))]),
        done: |bench| {
            let name = bench.name(&format!("pushed-{}", bench.number));
            bench.strata(&["rmi", &name]).ok();
            bench.strata(&["pull", "-q", &name]).ok();
        },
        again: &[0],
        failpoints_min: 2,
    });
}

#[test]
fn rmi_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Registry,
        prepare: |bench| bench.obtain_image(),
        begin: |_| {},
        words: |bench| words(&["rmi", &bench.name("image")]),
        done: |bench| {
            let out = bench.strata(&["images", "-aq"]).ok();
            assert_eq!(out.lines().count(), 1, "{out}");
            // What was killed before it had deleted the files left that to the next collection.
            bench.strata(&["image", "prune", "-f"]).ok();
            assert_eq!(bench.count("blobs/sha256"), 2, "the base image has a config and a manifest");
        },
        again: &[0, 1],
        failpoints_min: 4,
    });
}

/// Another image borrows a part of what goes.
#[test]
fn rmi_of_a_lender_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: |bench| {
            let images = [("lender", &[("shared", 600), ("own", 1500)][..]), ("borrower", &[("shared", 600)])];
            for (name, files) in images {
                let archive = Image::of_files(name, files).docker_archive(name);
                std::fs::write(bench.machine.dir().join(name), archive).unwrap();
                bench.strata(&["load", "-q", "-i", name]).ok();
            }
            // Other drivers store it twice.
            let lent = bench.machine.sh("ls store/layers/*/*/lenders | wc -l");
            assert!(bench.driver != "erofs" || lent.out == "1\n", "{lent:?}");
        },
        begin: |_| {},
        words: |_| words(&["rmi", "lender"]),
        done: |bench| {
            bench.strata(&["image", "prune", "-f"]).ok();
            let layers = || bench.count(&format!("layers/{}", bench.driver));
            assert_eq!(layers(), 2, "that of the base and that of the borrower");
            bench.strata(&["save", "-o", "again.tar", "borrower"]).ok();
            bench.strata(&["rmi", "borrower"]).ok();
            assert_eq!(layers(), 1);
        },
        again: &[0, 1],
        failpoints_min: 6,
    });
}

#[test]
fn commit_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: stopped,
        begin: |_| {},
        words: |_| words(&["commit", "box", "committed"]),
        done: |bench| {
            let out = bench.strata(&["run", "--rm", "--network", "none", "committed", "cat", "/root/new"]).ok();
            assert_eq!(out, "new\n");
        },
        again: &[0],
        failpoints_min: 6,
    });
}

/// One more layer, from a file.
fn write_layer(bench: &Bench<'_>) {
    let layer = Tar::new().dir("more/").file("more/file", 0o640, b"more").finish();
    std::fs::write(bench.machine.dir().join("layer.tar"), layer).unwrap();
}

#[test]
fn import_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: write_layer,
        begin: |_| {},
        words: |_| words(&["import", "layer.tar", "imported"]),
        done: |bench| drop(bench.strata(&["save", "-o", "again.tar", "imported"]).ok()),
        again: &[0],
        failpoints_min: 6,
    });
}

#[test]
fn append_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: write_layer,
        begin: |_| {},
        words: |bench| words(&["image", "append", &bench.name("base"), "layer.tar", "grown"]),
        done: |bench| {
            let out = bench.strata(&["run", "--rm", "--network", "none", "grown", "cat", "/more/file"]).ok();
            assert_eq!(out, "more");
        },
        again: &[0],
        failpoints_min: 6,
    });
}

#[test]
fn tag_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::One,
        prepare: |_| {},
        begin: |_| {},
        words: |bench| words(&["tag", &bench.name("base"), "other"]),
        done: |bench| drop(bench.strata(&["run", "--rm", "--network", "none", "other", "true"]).ok()),
        again: &[0],
        failpoints_min: 2,
    });
}

#[test]
fn gc_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Files,
        prepare: |bench| {
            bench.obtain_image();
            bench.strata(&["image", "keep", &bench.name("base")]).ok();
        },
        begin: |_| {},
        words: |_| words(&["system", "gc", "--keep", "1KB"]),
        done: |bench| {
            assert_eq!(bench.strata(&["images", "-aq"]).ok().lines().count(), 1);
            bench.strata(&["image", "prune", "-f"]).ok();
            assert_eq!(bench.count("blobs/sha256"), 1, "the base image has a config");
            assert_eq!(bench.count(&format!("layers/{}", bench.driver)), 1, "and a layer");
        },
        again: &[0],
        failpoints_min: 4,
    });
}

#[test]
fn migrate_can_be_killed_anywhere() {
    fn to(bench: &Bench<'_>) -> &'static str {
        if bench.driver == "overlay" { "vfs" } else { "overlay" }
    }
    check(&Operation {
        scope: Scope::Files,
        prepare: image_and_container,
        begin: |_| {},
        words: |bench| words(&["system", "migrate", to(bench)]),
        done: |bench| {
            assert_eq!(bench.strata(&["info", "--format", "{{.Driver}}"]).ok(), format!("{}\n", to(bench)));
            assert_eq!(bench.count(&format!("layers/{}", bench.driver)), 0, "the old layers are gone");
            assert_eq!(bench.strata(&["diff", "box"]).ok(), "C /root\nA /root/new\n");
            let run = ["run", "--rm", "--network", "none", &bench.name("image"), "cat", "/data/one"];
            assert_eq!(bench.strata(&run).ok(), "one");
        },
        again: &[0],
        failpoints_min: 8,
    });
}

/// The options that get the image for Windows.
const FOR_WINDOWS: [&str; 4] = ["pull", "-q", "--platform", "windows/amd64"];

fn pull_windows(bench: &Bench<'_>) {
    bench.strata(&[&FOR_WINDOWS[..], &[&bench.name("windows")]].concat()).ok();
}

/// Its layers lie beside those of any driver.
const WINDOWS_LAYERS: &str = "layers/windowsfilter";

#[test]
fn pull_of_layers_for_windows_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::OneFromRegistry,
        prepare: |_| {},
        begin: |_| {},
        words: |bench| words(&[&FOR_WINDOWS[..], &[&bench.name("windows")]].concat()),
        done: |bench| {
            bench.strata(&["save", "-o", "image.tar", &bench.name("windows")]).ok();
            assert_eq!(bench.count(WINDOWS_LAYERS), 2);
        },
        again: &[0],
        failpoints_min: 8,
    });
}

#[test]
fn push_of_layers_for_windows_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::OneFromRegistry,
        prepare: pull_windows,
        begin: |bench| {
            let new = bench.name(&format!("windows-{}", bench.number));
            bench.strata(&["tag", &bench.name("windows"), &new]).ok();
        },
        words: |bench| words(&["push", "-q", &bench.name(&format!("windows-{}", bench.number))]),
        done: |bench| {
            let name = bench.name(&format!("windows-{}", bench.number));
            bench.strata(&["rmi", &name, &bench.name("windows")]).ok();
            bench.strata(&[&FOR_WINDOWS[..], &[&name]].concat()).ok();
            bench.strata(&["save", "-o", "image.tar", &name]).ok();
            assert_eq!(bench.count(WINDOWS_LAYERS), 2);
        },
        again: &[0],
        failpoints_min: 2,
    });
}

#[test]
fn load_of_layers_for_windows_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::OneFromRegistry,
        prepare: |bench| {
            pull_windows(bench);
            bench.strata(&["save", "-o", "image.tar", &bench.name("windows")]).ok();
            bench.strata(&["rmi", &bench.name("windows")]).ok();
        },
        begin: |_| {},
        words: |_| words(&["load", "-q", "-i", "image.tar"]),
        done: |bench| {
            bench.strata(&["save", "-o", "again.tar", &bench.name("windows")]).ok();
            assert_eq!(bench.count(WINDOWS_LAYERS), 2);
        },
        again: &[0],
        failpoints_min: 6,
    });
}

#[test]
fn append_to_layers_for_windows_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::OneFromRegistry,
        prepare: |bench| {
            pull_windows(bench);
            let layer = Tar::new().dir("Files").file("Files/more.txt", 0o644, b"more").finish();
            std::fs::write(bench.machine.dir().join("layer.tar"), layer).unwrap();
        },
        begin: |_| {},
        words: |bench| words(&["image", "append", &bench.name("windows"), "layer.tar", "grown"]),
        done: |bench| {
            bench.strata(&["save", "-o", "again.tar", "grown"]).ok();
            assert_eq!(bench.count(WINDOWS_LAYERS), 3);
        },
        again: &[0],
        failpoints_min: 6,
    });
}

#[test]
fn rmi_of_layers_for_windows_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::OneFromRegistry,
        prepare: pull_windows,
        begin: |_| {},
        words: |bench| words(&["rmi", &bench.name("windows")]),
        done: |bench| {
            bench.strata(&["image", "prune", "-f"]).ok();
            assert_eq!(bench.count(WINDOWS_LAYERS), 0);
        },
        again: &[0, 1],
        failpoints_min: 4,
    });
}

#[test]
fn a_partial_download_that_was_damaged_is_begun_anew() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"), host::program("busybox"));
    let registry = Registry::start();
    registry.push(&Image::busybox(), "base");
    registry.push(&Image::new().layer(Tar::new().file("one", 0o644, b"one").finish(), Compression::Gzip), "image");
    let Some(bench) = Bench::new(Some(&registry), Ground::FIRST) else { return };
    let mut inspect = bench.machine.command("skopeo");
    inspect.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", bench.name("image"))]);
    let manifest: Value = serde_json::from_slice(&inspect.output().unwrap().stdout).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "-");
    std::fs::write(bench.machine.root().join("ingest").join(digest), b"\x1f\x8b\x08 what a power failure left")
        .unwrap();
    bench.strata(&["pull", "-q", &bench.name("image")]).ok();
    bench.strata(&["check"]).ok();
}
