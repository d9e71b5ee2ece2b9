//! The real program, killed with `kill -9` at every failpoint an operation meets, with every driver: images that were there
//! are unharmed, the next command mends what is left, the same command goes on, and then the store is whole.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod bench;
mod builds;
mod containers;
mod damage;
mod images;
mod kept;
mod prunes;

use std::sync::Mutex;

use strata_sys::failpoint;
use strata_testkit::machine::Ran;
use strata_testkit::registry::Registry;
use strata_testkit::{host, need};

use bench::{Bench, Ground};

const KILLED: i32 = 128 + 9;

/// What is killed.
struct Operation {
    /// With which drivers, and where the images come from.
    scope: Scope,
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

/// Where an operation is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// With every driver, on images from a registry.
    Registry,
    /// The same, one of which is damaged until the operation is done.
    Damaged,
    /// With every driver, on images from files.
    Files,
    /// The same, but what happens to records, which is much and nothing to drivers, with one only.
    Steps,
    /// With one driver: it is nothing to the others.
    One,
    /// With one driver, on images from a registry.
    OneFromRegistry,
}

/// Kills the operation wherever it can be killed: at the first and at the last visit of each failpoint.
fn check(operation: &Operation) {
    need!(host::root(), host::program("busybox"));
    if matches!(operation.scope, Scope::Files | Scope::Steps | Scope::One) {
        return check_from(None, operation);
    }
    need!(host::program("docker-registry"), host::program("skopeo"));
    let registry = Registry::start();
    for (name, image) in bench::images() {
        registry.push(&image, name);
    }
    check_from(Some(&registry), operation);
}

fn check_from(registry: Option<&Registry>, operation: &Operation) {
    let mut grounds = Ground::all();
    if matches!(operation.scope, Scope::One | Scope::OneFromRegistry) {
        grounds.truncate(1);
    }
    for ground in grounds {
        let Some(template) = Bench::new(registry, ground) else { continue };
        (operation.prepare)(&template);
        check_with(operation, ground, &template);
    }
}

fn check_with(operation: &Operation, ground: Ground, template: &Bench<'_>) {
    let copy = |number: &str| {
        let bench = template.copy(format!("{}-{number}", template.driver));
        (operation.begin)(&bench);
        bench
    };
    let mut visits = copy("trace").trace(operation);
    assert!(visits.len() >= operation.failpoints_min, "only these failpoints are met: {visits:?}");
    visits.retain(|name, _| ground.meets(operation.scope, name));
    let mut cases = Vec::new();
    for (name, count) in visits {
        let visits = if count == 1 || Ground::is_guest() { vec![1] } else { vec![1, count] };
        cases.extend(visits.into_iter().map(|visit| format!("{name}:{visit}")));
    }
    let cases = Mutex::new(cases.into_iter().enumerate());
    let next = || cases.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..ground.copies_max() {
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
    if operation.scope != Scope::Damaged {
        bench.assert_whole(&when);
    }
    let again = bench.strata(&(operation.words)(bench).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(operation.again.contains(&again.code), "again, {when}: {again:?}");
    eprintln!("looking whether it is done, {when}");
    (operation.done)(bench);
    bench.assert_whole(&when);
}

/// Kills the operation at one failpoint, which it must meet.
fn kill(bench: &Bench<'_>, words: &[&str], failpoint: &str) {
    let mut command = bench.machine.strata_command(words);
    let killed: Ran = command.env(failpoint::VARIABLE, failpoint).output().unwrap().into();
    assert_eq!(killed.code, KILLED, "{failpoint}: {killed:?}");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
