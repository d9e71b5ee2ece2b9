//! What `--help` prints, for the program and every verb, in `golden/help.txt`. `STRATA_BLESS=1` writes the file anew.

use std::fmt::Write as _;

use strata_cli::{help, verb};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt");
/// Docker's width where there is no terminal.
const COLUMNS: usize = 80;

#[test]
fn help_prints_what_it_printed() {
    let mut text = format!("$ strata --help\n{}", help::program(COLUMNS));
    for (name, about) in verb::MANAGEMENT {
        let _ = write!(text, "\n$ strata {name} --help\n{}", help::management(name, about));
    }
    for entry in verb::ENTRIES.iter().filter(|entry| entry.group != verb::Group::Unlisted || entry.below.is_some()) {
        let below = entry.below.and_then(|(management, names)| Some(format!("{management} {}", names.first()?)));
        let name = if entry.group == verb::Group::Unlisted { below.unwrap_or_default() } else { entry.name.to_owned() };
        let path = format!("strata {name}");
        let _ = write!(text, "\n$ {path} --help\n{}", help::verb(entry, &(entry.command)(), &path, COLUMNS));
    }
    if std::env::var_os("STRATA_BLESS").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    let first = text.lines().zip(golden.lines()).find(|(now, then)| now != then);
    assert!(text == golden, "help differs from {GOLDEN} (STRATA_BLESS=1 writes it anew), first here: {first:?}");
}
