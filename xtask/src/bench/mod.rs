//! `cargo xtask bench`: strata beside `tar`, `crun` and whatever of docker, podman and containerd is installed, in one run.
//!
//! Commands take turns (A B C A B C …), CPU is that of a control group that holds the command, its daemons and its
//! containers but not the registry, and every store lies on a fresh ext4 of its own. A row is a file in `rows/`.

pub(crate) mod arena;
mod engine;
mod images;
mod measure;
mod report;
mod rows;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use strata_testkit::host;

use crate::bench::engine::Engine;
use crate::bench::measure::Rounds;
use crate::shell::{Done, workspace};
use crate::{build, packages};

const USAGE: &str = "\
Usage: cargo xtask bench [--rounds N] [ROW...]

Measures all rows and writes docs/benchmarks.md; with ROWs, only prints those. `STRATA_BIN` names a program to measure
in place of the release build; `STRATA_BENCH_STORE=cached` puts the stores on a loop device whose file is cached once more.

Rows:
";

/// What a row may use.
pub(crate) struct Bench {
    pub(crate) arena: arena::Arena,
    /// The first is ours.
    pub(crate) engines: Vec<Engine>,
    pub(crate) program: PathBuf,
    rounds: Option<usize>,
}

impl Bench {
    /// As many rounds as the row wants, or as were asked for.
    pub(crate) fn rounds(&self, warm_up: usize, measured: usize) -> Rounds {
        Rounds { warm_up, measured: self.rounds.unwrap_or(measured) }
    }

    /// The engines that have Docker's words.
    pub(crate) fn docker_like(&self) -> impl Iterator<Item = &Engine> {
        self.engines.iter().filter(|engine| engine.name != "containerd")
    }
}

struct Wish {
    rounds: Option<usize>,
    rows: Vec<&'static rows::Row>,
    is_whole: bool,
}

/// Runs all rows, or those named; with all, it writes `docs/benchmarks.md` as it goes.
pub(crate) fn run(words: &[&str]) -> Done {
    let wish = parse(words)?;
    host::root().map_err(|_| "the bench makes mounts and control groups: please run it as root".to_owned())?;
    packages::install(packages::BENCH)?;
    let program = match std::env::var_os("STRATA_BIN") {
        Some(path) => path.into(),
        None => build::release()?,
    };
    images::make(&program)?;
    let arena = arena::Arena::start()?;
    let program = install(&program, &arena)?;
    let engines = engine::start_all(&arena, &program)?;
    let bench = Bench { arena, engines, program, rounds: wish.rounds };
    let (mut tables, mut failed) = (Vec::new(), Vec::new());
    for (place, row) in wish.rows.iter().enumerate() {
        let start = std::time::Instant::now();
        match (row.measure)(&bench) {
            Ok(table) => {
                println!("{}", report::table(&table));
                tables.push(table);
            }
            Err(why) => failed.push(format!("{}: {why}", row.name)),
        }
        eprintln!("== {}: {:.0} s", row.name, start.elapsed().as_secs_f64());
        if wish.is_whole {
            // After each row: what was measured stays when somebody ends this.
            let later = wish.rows[place + 1..].iter().map(|row| format!("{}: the call ended before", row.name));
            let missing: Vec<String> = failed.iter().cloned().chain(later).collect();
            let path = workspace().join("docs/benchmarks.md");
            std::fs::write(&path, report::page(&tables, &missing, &bench))
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
    }
    print!("{}", report::targets(&tables));
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured:\n{}", failed.join("\n"))) }
}

/// Puts the program where it is measured, as packages put the others: a file that was written in one go lies in larger pieces
/// in the page cache than one that a linker has mapped and filled here and there, and is faulted in with less work.
fn install(program: &Path, arena: &arena::Arena) -> Done<PathBuf> {
    let installed = arena.dir().join("strata");
    let failed = |error: std::io::Error| format!("cannot install {}: {error}", program.display());
    // `copy` has the kernel do it, page by page.
    let bytes = std::fs::read(program).map_err(failed)?;
    let mut options = std::fs::File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o755).open(&installed);
    file.and_then(|mut file| file.write_all(&bytes)).map_err(failed)?;
    Ok(installed)
}

fn parse(words: &[&str]) -> Done<Wish> {
    let usage = || {
        let lines = rows::ALL.iter().map(|row| format!("  {:14}{}\n", row.name, row.about));
        USAGE.to_owned() + &lines.collect::<String>()
    };
    let mut wish = Wish { rounds: None, rows: Vec::new(), is_whole: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--rounds" {
            let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
            wish.rounds = Some(number.ok_or_else(usage)?);
        } else {
            wish.rows.push(rows::ALL.iter().find(|row| row.name == *word).ok_or_else(usage)?);
        }
    }
    if wish.rows.is_empty() {
        (wish.rows, wish.is_whole) = (rows::ALL.iter().collect(), wish.rounds.is_none());
    }
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name_and_only_the_whole_is_written() {
        let whole = parse(&[]).unwrap();
        assert_eq!((whole.rows.len(), whole.is_whole), (rows::ALL.len(), true));
        let one = parse(&["--rounds", "2", "pull"]).unwrap();
        assert_eq!((one.rows.len(), one.rows[0].name, one.rounds, one.is_whole), (1, "pull", Some(2), false));
        assert!(!parse(&["--rounds", "2"]).unwrap().is_whole);
    }

    #[test]
    fn unknown_words_get_the_list_of_rows() {
        for words in [&["nonsense"][..], &["--rounds", "0"], &["--rounds"], &["--help"]] {
            let usage = parse(words).err().unwrap();
            assert!(rows::ALL.iter().all(|row| usage.contains(row.name)), "{usage}");
        }
    }
}
