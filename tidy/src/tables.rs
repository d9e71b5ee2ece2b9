//! The tables of `docs/drivers.md` name tests, and so does what the guest runs: those are there.

use crate::tree;

/// The document, and the heading of the table of what is tested where.
const DOCUMENT: &str = "docs/drivers.md";
const HEADING: &str = "## What is tested where";

/// Where the names of all drivers stand, one a line: `Self::Erofs => "erofs",`.
const DRIVERS: &str = "crates/snapshot/src/driver/mod.rs";

fn document() -> String {
    std::fs::read_to_string(tree::root().join(DOCUMENT)).unwrap()
}

/// The words of a text that are written as code.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a literal is the name of a test or of a module of tests, and not a command or a path in a store.
fn is_test(literal: &str) -> bool {
    let is_name =
        |part: &str| !part.is_empty() && part.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    let (path, name) = literal.rsplit_once("::").unwrap_or((literal, ""));
    is_name(name) && path.split("::").all(is_name)
}

/// Whether a file is, by one of the names in its path, in the modules `path`, in this order.
fn is_in(file: &str, text: &str, path: &[&str]) -> bool {
    let mut modules: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    // Modules that stand in the file itself come last.
    modules.extend(text.lines().filter_map(|line| line.trim().strip_prefix("mod ")?.strip_suffix(" {")));
    let mut modules = modules.into_iter();
    path.iter().all(|part| modules.any(|module| module == *part))
}

/// Whether there is a test, or a module with tests, that is called so.
fn exists(name: &str, files: &[(String, String)]) -> bool {
    let path: Vec<&str> = name.split("::").collect();
    let (last, modules) = path.split_last().unwrap();
    let function = format!("fn {last}(");
    files.iter().any(|(file, text)| {
        let has_tests = text.contains("#[test]");
        let is_named = text.match_indices(&function).any(|(at, _)| text[..at].trim_end().ends_with("#[test]"));
        has_tests && (is_named && is_in(file, text, modules) || is_in(file, text, &path))
    })
}

#[test]
fn every_test_that_is_named_is_there() {
    let (document, files) = (document(), tree::rust_files());
    let files: Vec<(String, String)> = files.into_iter().filter(|(name, _)| name.starts_with("crates/")).collect();
    let named: Vec<&str> = literals(&document).filter(|literal| is_test(literal)).collect();
    assert!(named.len() > 20, "only {named:?} are named");
    let missing: Vec<&&str> = named.iter().filter(|name| !exists(name, &files)).collect();
    assert_eq!(missing, Vec::<&&str>::new(), "tests that {DOCUMENT} names");
    assert!(!exists("drivers::a_test_that_nobody_wrote", &files) && !exists("drivers::whole_way", &files));
}

/// A cell that names no test says that the driver cannot.
#[test]
fn every_cell_names_a_test_or_has_a_dash() {
    let document = document();
    let table = document.split(HEADING).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut drivers = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        drivers.push(cells[0].trim_matches('`'));
        assert_eq!(cells.len(), 8, "{row}");
        for cell in &cells[2..] {
            // Some stand below the table, under a letter.
            let is_held =
                cell.starts_with('–') || literals(cell).any(is_test) || cell.split(", ").all(|part| part.len() == 1);
            assert!(is_held, "{row}: {cell}");
        }
    }
    drivers.sort_unstable();
    let source = std::fs::read_to_string(tree::root().join(DRIVERS)).unwrap();
    let known = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \"")?.1.strip_suffix("\","));
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    assert_eq!(drivers, known);
}

/// The table of what is killed names each operation that a test kills, and no other.
#[test]
fn every_operation_that_is_killed_has_a_row() {
    const END: &str = "_can_be_killed_anywhere()";
    let mut killed = Vec::new();
    for (file, text) in tree::rust_files() {
        let Some(module) = file.strip_prefix("crates/cli/tests/killed/") else { continue };
        let module = module.trim_end_matches(".rs");
        let names = text.lines().filter_map(|line| line.strip_prefix("fn ")?.split_once(END));
        killed.extend(names.map(|(name, _)| format!("{module}::{name}")));
    }
    let document = document();
    let table = document.split("\n## Crashes\n").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once("| ").map(|(_, cell)| cell));
    let mut named: Vec<&str> = cells.flat_map(|cell| cell.split(", ")).collect();
    killed.sort_unstable();
    named.sort_unstable();
    assert!(killed.len() > 30, "only {killed:?}");
    assert_eq!(named, killed);
}

/// Where it says which tests the guest runs: lists of parts of their names.
const SUITES: &str = "xtask/src/vm/mod.rs";

/// A filter that finds nothing ends well.
#[test]
fn every_filter_of_the_guest_finds_a_test() {
    let source = std::fs::read_to_string(tree::root().join(SUITES)).unwrap();
    let lists = ["filter: &[", ": &[&str] ="].into_iter().flat_map(|begin| source.split(begin).skip(1));
    let lists = lists.filter_map(|rest| rest.split_once(']').map(|(list, _)| list));
    let words = lists.flat_map(|list| list.split('"').skip(1).step_by(2));
    let filters: Vec<&str> = words.filter(|word| *word != "--skip").collect();
    assert!(filters.len() > 15, "only {filters:?}");
    let mut tests = Vec::new();
    for (file, text) in tree::rust_files() {
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        for part in text.split("#[test]").skip(1) {
            let name = part.split_once("fn ").and_then(|(_, rest)| rest.split('(').next());
            tests.extend(name.map(|name| format!("{module}::{name}")));
        }
    }
    let lost: Vec<&&str> = filters.iter().filter(|filter| !tests.iter().any(|test| test.contains(**filter))).collect();
    assert_eq!(lost, Vec::<&&str>::new());
}
