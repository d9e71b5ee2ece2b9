//! The power fails: what the filesystem had not yet written is lost, at every failpoint an operation meets and right after it has
//! ended well. Images that were there are whole, what was said to be done is done, and the same command goes on.
//!
//! Beside that, each system call that changes the disk fails in turn.
//!
//! The store lies on an ext4 or a btrfs in a file. What is in that file at the moment of the failure is what the disk would have;
//! what the filesystem still holds in memory is not in it.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod builds;
mod containers;
mod images;
mod kept;

use std::collections::BTreeSet;
use std::sync::Mutex;

use strata_sys::failpoint;
use strata_testkit::image::{Compression, Image};
use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

/// Cases wait for the disk more than they compute.
const CASES_AT_ONCE: usize = 3;

/// A driver and the filesystem it stands on.
const GROUNDS: &[(&str, &str)] = &[("erofs", "ext4"), ("overlay", "ext4"), ("btrfs", "btrfs")];

/// What a guest is for whose kernel can seal files.
const SEALED: &[(&str, &str)] = &[("erofs", "ext4 -O verity")];

/// What is interrupted.
struct Operation {
    /// What it needs beside a store.
    needs: Needs,
    prepare: fn(&Bench),
    words: fn(&Bench) -> Vec<String>,
    /// Fails unless the operation has had its effect.
    done: fn(&Bench),
    /// With which codes the same words may end when they are said again: what is done already may be refused.
    again: &'static [i32],
}

/// What an operation needs beside a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Nothing.
    Nothing,
    /// A registry that has the other image.
    Registry,
    /// Nothing, and the driver is nothing to it: it is tried with one.
    NoDriver,
}

/// A machine whose store is on a filesystem in the file `disk`.
struct Bench {
    machine: Machine,
    driver: &'static str,
    /// Where the registry is, if there is one.
    registry: String,
}

impl Bench {
    /// One with the image `base`, and the archive of another; none if this machine has no such filesystem.
    fn new(driver: &'static str, filesystem: &str, registry: &str) -> Option<Self> {
        let bench = Self { machine: Machine::start(), driver, registry: registry.to_owned() };
        let made = bench.machine.sh(&format!("truncate -s 512M disk && mkfs.{filesystem} -q disk"));
        if made.code != 0 || !bench.mount() {
            return None;
        }
        std::fs::write(bench.machine.dir().join("other.tar"), other().docker_archive("other")).unwrap();
        std::fs::write(bench.machine.dir().join("layer.tar"), layer()).unwrap();
        let loaded = feed(&bench, &Image::busybox().docker_archive("base"));
        if loaded.err.contains("is not available") {
            return None;
        }
        loaded.ok();
        Some(bench)
    }

    fn mount(&self) -> bool {
        self.machine.sh("mkdir -p store && mount -o loop disk store").code == 0
    }

    /// The machine after the power has failed now.
    fn after_power_failure(&self) -> Self {
        let after = Self { machine: Machine::start(), registry: self.registry.clone(), driver: self.driver };
        for file in ["disk", "other.tar", "layer.tar"] {
            let (from, to) = (self.machine.dir().join(file), after.machine.dir().join(file));
            let copied = std::process::Command::new("cp").arg("--sparse=always").args([from, to]).status();
            assert!(copied.unwrap().success());
        }
        builds::write_context(after.machine.dir());
        assert!(after.mount(), "what is left is no filesystem");
        after
    }

    fn strata<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Ran {
        self.machine.strata(words)
    }

    fn assert_whole(&self, when: &str) {
        let listed = self.strata(&["images", "-q", "base"]);
        assert_eq!((listed.code, listed.out.lines().count()), (0, 1), "the base image is lost {when}: {listed:?}");
        let checked = self.strata(&["check"]);
        assert_eq!(checked.code, 0, "{when}: {checked:?}");
        let run = self.strata(&["run", "--rm", "--network", "none", "base", "true"]);
        assert_eq!(run.code, 0, "{when}: {run:?}");
    }
}

/// Another image, and its uppermost layer.
fn other() -> Image {
    Image::busybox().layer(layer(), Compression::Gzip)
}

fn layer() -> Vec<u8> {
    let big: Vec<u8> = (0..400_000_u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
    Tar::new().dir("data/").file("data/big", 0o644, &big).file("data/small", 0o600, b"small").finish()
}

/// Fails unless an image has all that the layer has.
fn has_layer(bench: &Bench, image: &str) {
    let script = "wc -c </data/big; md5sum </data/big; cat /data/small; stat -c %a /data/small";
    let seen = bench.strata(&["run", "--rm", "--network", "none", image, "sh", "-c", script]).ok();
    assert!(seen.starts_with("400000\n") && seen.ends_with("small600\n"), "{seen}");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn feed(bench: &Bench, archive: &[u8]) -> Ran {
    bench.machine.strata_with_input(["--storage-driver", bench.driver, "load", "-q"], archive)
}

/// Kinds of system calls, and how they fail. Of writes, of which there are many, not each is tried.
const FAULTS: [(&str, &str, &[usize]); 4] = [
    ("fsync,fdatasync,syncfs", "EIO", &[]),
    ("rename,renameat,renameat2,linkat,link", "EIO", &[]),
    ("mkdir,mkdirat,unlink,unlinkat,ftruncate,fallocate", "ENOSPC", &[]),
    ("write,pwrite64,copy_file_range", "ENOSPC", &[1, 2, 3, 5, 8, 13, 21, 34, 55]),
];

/// Lets each system call that changes the disk fail in turn: the command says so or does without, nothing that was there is
/// hurt, and afterwards it works.
fn check_faults(operation: &Operation) {
    need!(host::root(), host::program("busybox"), host::program("mkfs.ext4"), host::filesystem("erofs"));
    need!(host::program("strace"));
    let template = Bench::new("erofs", "ext4", "").unwrap();
    (operation.prepare)(&template);
    template.machine.sh("sync").ok();
    let kinds = Mutex::new(FAULTS.iter());
    let next = || kinds.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..CASES_AT_ONCE {
            scope.spawn(|| {
                while let Some((calls, error, visits)) = next() {
                    let all = if visits.is_empty() { (1..500).collect::<Vec<usize>>() } else { visits.to_vec() };
                    all.into_iter().take_while(|visit| fails_at(operation, &template, (calls, error, *visit))).count();
                }
            });
        }
    });
}

/// Lets a call fail at one visit; false if there are not so many.
fn fails_at(operation: &Operation, template: &Bench, (calls, error, visit): (&str, &str, usize)) -> bool {
    let bench = template.after_power_failure();
    let words = (operation.words)(&bench);
    let when = format!("when {calls} failed at the {visit}. time, of {words:?}");
    let trace = bench.machine.dir().join("trace");
    let mut command = bench.machine.command("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace).arg("-e").arg(format!("trace={calls}"));
    command.arg("-e").arg(format!("inject={calls}:error={error}:when={visit}"));
    command.arg(host::strata()).arg("--root").arg(bench.machine.root()).args(&words);
    let ran: Ran = command.output().unwrap().into();
    assert!(ran.code < 128 && !ran.err.contains("panicked"), "{when}: {ran:?}");
    // Where writing fails, saying so may fail, too.
    let is_told = ran.err.starts_with("strata: ") || ran.err.is_empty() && calls.starts_with("write");
    assert!(ran.code == 0 || is_told, "{when}: {ran:?}");
    if !std::fs::read_to_string(&trace).unwrap().contains("(INJECTED)") {
        return false;
    }
    bench.assert_whole(&when);
    let again = bench.strata(&words);
    assert!(operation.again.contains(&again.code), "again, {when}: {again:?}");
    eprintln!("looking whether it is done, {when}");
    (operation.done)(&bench);
    true
}

fn check(operation: &Operation) {
    need!(host::root(), host::program("busybox"), host::program("mkfs.ext4"), host::filesystem("erofs"));
    let registry = if operation.needs == Needs::Registry {
        need!(host::program("docker-registry"), host::program("skopeo"));
        let registry = Registry::start();
        registry.push(&other(), "other");
        Some(registry)
    } else {
        None
    };
    let host = registry.as_ref().map(Registry::host).unwrap_or_default();
    let grounds = match operation.needs {
        _ if std::env::var_os("STRATA_TEST_DRIVER").is_some() => SEALED,
        Needs::NoDriver => &GROUNDS[..1],
        _ => GROUNDS,
    };
    for (driver, filesystem) in grounds {
        let Some(template) = Bench::new(driver, filesystem, &host) else {
            host::skipped(module_path!(), &format!("a filesystem for the driver {driver}"));
            continue;
        };
        (operation.prepare)(&template);
        // From here on all is durable; what follows is what the power takes.
        template.machine.sh("sync").ok();
        let traced = template.after_power_failure();
        let trace = traced.machine.dir().join("trace");
        let mut command = traced.machine.strata_command((operation.words)(&traced));
        command.env(failpoint::TRACE_VARIABLE, &trace).output().unwrap();
        let visited = std::fs::read_to_string(&trace).unwrap_or_default();
        let points: BTreeSet<String> = visited.lines().map(str::to_owned).chain([String::new()]).collect();
        assert!(points.len() > 2, "no failpoints are met");
        let points = Mutex::new(points.into_iter());
        let next = || points.lock().unwrap().next();
        std::thread::scope(|scope| {
            for _ in 0..CASES_AT_ONCE {
                scope.spawn(|| {
                    while let Some(point) = next() {
                        check_one(operation, &template.after_power_failure(), &point);
                    }
                });
            }
        });
    }
}

/// Ends the power at a failpoint, or, without one, when the command says that it is done.
fn check_one(operation: &Operation, bench: &Bench, point: &str) {
    let words = (operation.words)(bench);
    let when = format!("with {}, when the power failed at `{point}` of {words:?}", bench.driver);
    let mut command = bench.machine.strata_command(&words);
    if !point.is_empty() {
        command.env(failpoint::VARIABLE, point);
    }
    let ran: Ran = command.output().unwrap().into();
    assert!(ran.code == if point.is_empty() { 0 } else { 128 + 9 }, "{when}: {ran:?}");
    let after = bench.after_power_failure();
    after.strata(&["ps", "-aq"]).ok();
    after.assert_whole(&when);
    if !point.is_empty() {
        let again = after.strata(&words);
        assert!(operation.again.contains(&again.code), "again, {when}: {again:?}");
    }
    eprintln!("looking whether it is done, {when}");
    (operation.done)(&after);
    after.assert_whole(&when);
}

/// The test of this test: what nobody synced is lost, and only that.
#[test]
fn what_was_not_synced_is_lost_with_the_power() {
    need!(host::root(), host::program("busybox"), host::program("mkfs.ext4"), host::filesystem("erofs"));
    let bench = Bench::new("erofs", "ext4", "").unwrap();
    bench.machine.sh("echo kept >store/kept; sync; echo lost >store/lost; echo lost >store/kept").ok();
    let after = bench.after_power_failure();
    assert_eq!(after.machine.sh("cat store/kept; cat store/lost").out, "kept\n");
}
