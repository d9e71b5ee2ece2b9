//! `cargo xtask bench`: strata beside `tar`, `crun` and whatever of docker, podman and containerd is installed, in one run.
//!
//! Commands take turns (A B C A B C …), CPU is that of a control group that holds the command, its daemons and its
//! containers but not the registry, and every store lies on a fresh ext4 of its own.

mod arena;
mod engine;
mod images;
mod measure;
mod memory;
mod report;
mod rows;

use strata_testkit::host;

use crate::shell::{Done, workspace};
use crate::{build, packages};

/// Runs all rows, or those named, and writes `docs/benchmarks.md` when all ran.
pub(crate) fn run(names: &[&str]) -> Done {
    host::root().map_err(|_| "the bench makes mounts and control groups: please run it as root".to_owned())?;
    packages::install(packages::BENCH)?;
    let program = match std::env::var_os("STRATA_BIN") {
        Some(path) => path.into(),
        None => build::release()?,
    };
    images::make(&program)?;
    let arena = arena::Arena::start()?;
    let engines = engine::start_all(&arena, &program)?;
    let running = engine::that_run(&arena, &engines);
    let mut tables = Vec::new();
    for row in rows::ALL {
        if names.is_empty() || names.contains(&row.name) {
            eprintln!("== {}", row.name);
            let table = (row.measure)(&arena, if row.name == "pull" { &engines } else { &running })?;
            print!("{}", report::table(&table));
            tables.push(table);
        }
    }
    if !names.is_empty() {
        return Ok(());
    }
    let path = workspace().join("docs/benchmarks.md");
    let page = report::page(&tables, &engines, &program);
    std::fs::write(&path, page).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
