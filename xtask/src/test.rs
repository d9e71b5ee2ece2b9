//! `cargo xtask test`: everything that CI runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use crate::shell::{self, Done, cargo, workspace};
use crate::{fsck_erofs, order, packages, tutorial, vm};

/// Runs every stage; the first that fails ends it.
pub(crate) fn run() -> Done {
    packages::install(packages::TEST)?;
    fsck_erofs::ensure()?;
    let skips = workspace().join("target/skips.txt");
    let _stale = std::fs::remove_file(&skips);
    let mut tests = cargo(&["test", "--workspace", "--quiet", "--no-fail-fast"]);
    tests.env("STRATA_SKIPS", &skips);
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "-Dwarnings");
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-Dwarnings"];
    stage("format", || shell::run(&mut cargo(&["fmt", "--all", "--check"])))?;
    stage("lints", || shell::run(&mut cargo(&lints)))?;
    stage("program", || shell::run(&mut cargo(&["build", "--quiet", "--package", "strata-cli"])))?;
    stage("tests", || shell::run(&mut tests))?;
    stage("skips", || check_skips(&skips))?;
    stage("guest", || vm::run_suites(&[]))?;
    stage("documentation", || shell::run(&mut docs))?;
    stage("tutorial", || tutorial::run(tutorial::Mode::Compare))?;
    stage("order", order::check)
}

fn stage(name: &str, act: impl FnOnce() -> Done) -> Done {
    eprintln!("== {name}");
    let start = Instant::now();
    act()?;
    eprintln!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// A test that lacks something on this host says so; what may be lacking is listed, so that nothing stops running unseen.
fn check_skips(skips: &Path) -> Done {
    let seen = std::fs::read_to_string(skips).unwrap_or_default();
    unexpected_skips(&seen, &workspace().join("xtask/expected-skips.txt"))
}

/// Compares the lines about skipped tests with a list.
pub(crate) fn unexpected_skips(seen: &str, list: &Path) -> Done {
    let expected = std::fs::read_to_string(list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    let expected: Vec<&str> = expected.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let unexpected: BTreeSet<&str> =
        seen.lines().filter(|line| !expected.iter().any(|known| line.ends_with(known))).collect();
    for line in &unexpected {
        eprintln!("{line}");
    }
    if unexpected.is_empty() {
        Ok(())
    } else {
        Err(format!("{} tests were skipped for reasons that {} does not list", unexpected.len(), list.display()))
    }
}
