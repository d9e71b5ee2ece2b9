//! Names that say nothing, marks of unfinished work, tests that do not run, and what must not stand in the project.

use crate::tree;

/// Module names that could hold anything.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "manager"];

#[test]
fn modules_have_names_that_say_something() {
    let empty: Vec<String> = tree::rust_files()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
            stem.split('_').any(|word| EMPTY_NAMES.contains(&word)) || stem.ends_with("_impl")
        })
        .collect();
    assert_eq!(empty, Vec::<String>::new());
}

#[test]
fn nothing_is_left_unfinished_or_ignored() {
    // Written in two parts so that this file does not find itself.
    let marks = [("TO", "DO"), ("FIX", "ME"), ("todo", "!("), ("unimplemented", "!("), ("#[ign", "ore")];
    let marks: Vec<String> = marks.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let mut found = Vec::new();
    for (name, text) in tree::rust_files() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn unsafe_code_stands_in_one_crate() {
    let block = format!("{} {{", "unsafe");
    let found: Vec<String> = tree::rust_files()
        .into_iter()
        .filter(|(name, text)| !name.starts_with("crates/sys/") && text.contains(&block))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn tests_do_not_sleep() {
    let sleeps = [format!("thread::{}(", "sleep"), format!("clock::{}(", "pause")];
    // What has to wait without being told does so in one place, which tests stay away from.
    let may = |name: &str, sleep: &str| match sleep {
        _ if name == "crates/sys/src/clock.rs" => true,
        sleep if sleep.starts_with("clock") => !name.contains("tests"),
        _ => false,
    };
    let sleeps_in = |(name, text): &(String, String)| sleeps.iter().any(|it| text.contains(it) && !may(name, it));
    let found: Vec<String> = tree::rust_files().into_iter().filter(sleeps_in).map(|(name, _)| name).collect();
    assert_eq!(found, Vec::<String>::new());
}
