//! The real program, killed with `kill -9` at every failpoint an operation meets, with every driver: images that were there
//! are unharmed, the next command mends what is left, the same command goes on, and then the store is whole.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use strata_sys::failpoint;
use strata_testkit::image::{Compression, Image};
use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

const KILLED: i32 = 128 + 9;

const DRIVERS: [&str; 3] = ["erofs", "overlay", "vfs"];

/// Cases wait for the disk more than they compute, and tests of other operations run beside them.
const CASES_AT_ONCE: usize = 3;

/// What is killed.
struct Operation {
    /// Brings a store to where the operation can begin; done once for each driver.
    prepare: fn(&Bench<'_>),
    /// What each case needs of its own.
    begin: fn(&Bench<'_>),
    /// The operation.
    words: fn(&Bench<'_>) -> Vec<String>,
    /// Fails unless the operation has had its effect, all of it.
    done: fn(&Bench<'_>),
    /// With which codes the same words may end when they are said again: what is done already may be refused.
    again: &'static [i32],
    /// How many failpoints it meets at least, lest the test become empty unnoticed.
    failpoints_min: usize,
}

/// A machine with one image that must stay unharmed.
struct Bench<'r> {
    machine: Machine,
    registry: &'r Registry,
    driver: &'static str,
    /// What no other case of this operation has.
    number: String,
}

impl<'r> Bench<'r> {
    fn new(registry: &'r Registry, driver: &'static str) -> Self {
        Self { machine: Machine::start(), registry, driver, number: String::from("0") }
    }

    /// Another machine with a copy of the store, which nobody has open.
    fn copy(&self, number: String) -> Bench<'r> {
        let copy = Bench { machine: Machine::start(), number, ..*self };
        let mut cp = std::process::Command::new("cp");
        let status = cp.arg("-a").args([self.machine.root(), copy.machine.root()]).status().unwrap();
        assert!(status.success());
        for archive in std::fs::read_dir(self.machine.dir()).unwrap().map(|entry| entry.unwrap().path()) {
            if archive.is_file() {
                std::fs::copy(&archive, copy.machine.dir().join(archive.file_name().unwrap())).unwrap();
            }
        }
        copy
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}:latest", self.registry.host())
    }

    fn strata(&self, words: &[&str]) -> Ran {
        self.machine.strata([&["--storage-driver", self.driver], words].concat())
    }

    /// Runs the operation with a variable of the failpoints set.
    fn run(&self, operation: &Operation, variable: &str, value: &str) -> Ran {
        let mut command = self.machine.strata_command((operation.words)(self));
        command.env(variable, value).output().unwrap().into()
    }

    /// The failpoints that the operation meets, and how often.
    fn trace(&self, operation: &Operation) -> BTreeMap<String, usize> {
        let file = self.machine.dir().join("trace");
        self.run(operation, failpoint::TRACE_VARIABLE, file.to_str().unwrap()).ok();
        let mut visits = BTreeMap::new();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            *visits.entry(line.to_owned()).or_default() += 1;
        }
        visits
    }

    /// The base image is there, and everything is whole: checking reads and verifies all of it.
    fn assert_whole(&self, when: &str) {
        let listed = self.strata(&["images", "-q", &self.name("base")]);
        assert_eq!((listed.code, listed.out.lines().count()), (0, 1), "the base image is lost {when}: {listed:?}");
        let checked = self.strata(&["check"]);
        assert_eq!(checked.code, 0, "{when}: {checked:?}");
    }
}

/// Kills the operation wherever it can be killed: at the first and at the last visit of each failpoint.
fn check(operation: &Operation) {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"), host::program("busybox"));
    let registry = Registry::start();
    let base = Image::busybox();
    registry.push(&base, "base");
    let layer = |name: &str| Tar::new().dir("data/").file(&format!("data/{name}"), 0o644, name.as_bytes()).finish();
    // One layer has what the base has, too, so that it borrows that.
    let busybox = std::fs::read(host::find_program("busybox").unwrap()).unwrap();
    let copy = Tar::new().dir("data/").file("data/copy", 0o755, &busybox).finish();
    let image = base.layer(layer("one"), Compression::Gzip).layer(layer("two"), Compression::Zstd);
    let image = image.layer(copy, Compression::Gzip);
    registry.push(&image, "image");
    for driver in DRIVERS {
        let template = Bench::new(&registry, driver);
        let pulled = template.strata(&["pull", "-q", &template.name("base")]);
        if pulled.err.contains("is not available") {
            host::skipped(module_path!(), &format!("a filesystem for the driver {driver}"));
            continue;
        }
        pulled.ok();
        (operation.prepare)(&template);
        check_with(operation, &template);
    }
}

fn check_with(operation: &Operation, template: &Bench<'_>) {
    let copy = |number: &str| {
        let bench = template.copy(format!("{}-{number}", template.driver));
        (operation.begin)(&bench);
        bench
    };
    let visits = copy("trace").trace(operation);
    assert!(visits.len() >= operation.failpoints_min, "only these failpoints are met: {visits:?}");
    let mut cases = Vec::new();
    for (name, count) in visits {
        let visits = if count == 1 { vec![1] } else { vec![1, count] };
        cases.extend(visits.into_iter().map(|visit| format!("{name}:{visit}")));
    }
    let cases = Mutex::new(cases.into_iter().enumerate());
    let next = || cases.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..CASES_AT_ONCE {
            scope.spawn(|| {
                while let Some((number, failpoint)) = next() {
                    check_one(&copy(&number.to_string()), operation, &failpoint);
                }
            });
        }
    });
}

fn check_one(bench: &Bench<'_>, operation: &Operation, failpoint: &str) {
    let when = format!("with {}, when killed at {failpoint}", bench.driver);
    let killed = bench.run(operation, failpoint::VARIABLE, failpoint);
    // Layers come in on several threads: the last visit may be met by fewer of them than before.
    assert!(killed.code == KILLED || killed.code == 0, "{when}: {killed:?}");
    // Any command that looks at containers mends what is left of one.
    bench.strata(&["ps", "-aq"]).ok();
    bench.assert_whole(&when);
    let again = bench.strata(&(operation.words)(bench).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(operation.again.contains(&again.code), "again, {when}: {again:?}");
    (operation.done)(bench);
    bench.assert_whole(&when);
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn pull_can_be_killed_anywhere() {
    check(&Operation {
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
        prepare: |bench| {
            bench.strata(&["pull", "-q", &bench.name("image")]).ok();
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
        prepare: |bench| drop(bench.strata(&["pull", "-q", &bench.name("image")]).ok()),
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
        prepare: |bench| drop(bench.strata(&["pull", "-q", &bench.name("image")]).ok()),
        begin: |_| {},
        words: |bench| words(&["rmi", &bench.name("image")]),
        done: |bench| {
            let out = bench.strata(&["images", "-aq"]).ok();
            assert_eq!(out.lines().count(), 1, "{out}");
            // What was killed before it had deleted the files left that to the next collection.
            bench.strata(&["image", "prune", "-f"]).ok();
            let blobs = std::fs::read_dir(bench.machine.root().join("blobs/sha256")).unwrap().count();
            assert_eq!(blobs, 2, "the base image has a config and a manifest");
        },
        again: &[0, 1],
        failpoints_min: 4,
    });
}

#[test]
fn commit_can_be_killed_anywhere() {
    check(&Operation {
        prepare: |bench| {
            let base = bench.name("base");
            bench.strata(&["run", "--name", "box", "--network", "none", &base, "sh", "-c", "echo new >/root/new"]).ok();
        },
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

#[test]
fn rm_can_be_killed_anywhere() {
    check(&Operation {
        prepare: |bench| {
            let base = bench.name("base");
            bench.strata(&["run", "--name", "box", "--network", "none", &base, "sh", "-c", "echo new >/root/new"]).ok();
        },
        begin: |_| {},
        words: |_| words(&["rm", "box"]),
        done: |bench| {
            assert_eq!(bench.strata(&["ps", "-aq"]).ok(), "");
            let left = std::fs::read_dir(bench.machine.root().join("containers")).unwrap().count();
            assert_eq!(left, 0);
        },
        again: &[0, 1],
        failpoints_min: 5,
    });
}

#[test]
fn create_can_be_killed_anywhere() {
    check(&Operation {
        prepare: |_| {},
        begin: |_| {},
        words: |bench| words(&["create", "--name", "box", "--network", "none", &bench.name("base"), "true"]),
        done: |bench| drop(bench.strata(&["rm", "box"]).ok()),
        again: &[0, 1, 125],
        failpoints_min: 4,
    });
}

#[test]
fn a_partial_download_that_was_damaged_is_begun_anew() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"), host::program("busybox"));
    let registry = Registry::start();
    registry.push(&Image::busybox(), "base");
    registry.push(&Image::new().layer(Tar::new().file("one", 0o644, b"one").finish(), Compression::Gzip), "image");
    let bench = Bench::new(&registry, DRIVERS[0]);
    bench.strata(&["pull", "-q", &bench.name("base")]).ok();
    let mut inspect = bench.machine.command("skopeo");
    inspect.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", bench.name("image"))]);
    let manifest: serde_json::Value = serde_json::from_slice(&inspect.output().unwrap().stdout).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "-");
    std::fs::write(bench.machine.root().join("ingest").join(digest), b"\x1f\x8b\x08 what a power failure left")
        .unwrap();
    bench.strata(&["pull", "-q", &bench.name("image")]).ok();
    bench.strata(&["check"]).ok();
}

/// A stopped container `box` with a snapshot `one`, and a change since.
fn snapshotted(bench: &Bench<'_>) {
    let base = bench.name("base");
    let script = "test -e /root/one && echo two >/root/two; echo one >/root/one";
    bench.strata(&["run", "--name", "box", "--network", "none", &base, "sh", "-c", script]).ok();
    bench.strata(&["snapshot", "box", "one"]).ok();
    bench.strata(&["start", "-a", "box"]).ok();
}

#[test]
fn snapshot_can_be_killed_anywhere() {
    check(&Operation {
        prepare: |bench| {
            let base = bench.name("base");
            bench.strata(&["run", "--name", "box", "--network", "none", &base, "sh", "-c", "echo new >/root/new"]).ok();
        },
        begin: |_| {},
        words: |_| words(&["snapshot", "box", "kept"]),
        done: |bench| {
            let layers = bench.machine.root().join("layers").join(bench.driver);
            assert_eq!(std::fs::read_dir(layers).unwrap().count(), 2, "one of the image and one of the snapshot");
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

/// Whoever starts a container next finds it as it was, or put back, and nothing in between.
#[test]
fn a_container_starts_however_its_rollback_was_killed() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"), host::program("busybox"));
    let registry = Registry::start();
    registry.push(&Image::busybox(), "base");
    let template = Bench::new(&registry, DRIVERS[0]);
    template.strata(&["pull", "-q", &template.name("base")]).ok();
    snapshotted(&template);
    // Now it stands on other layers than those of the snapshot it is put back to.
    template.strata(&["rollback", "box", "one"]).ok();
    template.strata(&["start", "-a", "box"]).ok();
    template.strata(&["snapshot", "box", "two"]).ok();
    template.strata(&["rollback", "box", "two"]).ok();
    for failpoint in ["engine.rollback.recorded", "snapshot.reset.unsettled", "snapshot.reset.taken-away"] {
        let bench = template.copy(failpoint.to_owned());
        let mut command = bench.machine.strata_command(["rollback", "box", "one"]);
        let killed: Ran = command.env(failpoint::VARIABLE, failpoint).output().unwrap().into();
        assert_eq!(killed.code, KILLED, "{failpoint}: {killed:?}");
        bench.strata(&["start", "-a", "box"]).ok();
        assert_eq!(bench.strata(&["diff", "box"]).ok(), "C /root\nC /root/one\nA /root/two\n", "{failpoint}");
        bench.assert_whole(failpoint);
    }
}

#[test]
fn fork_can_be_killed_anywhere() {
    check(&Operation {
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
