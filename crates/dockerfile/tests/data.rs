//! BuildKit's own test data, all results equal; see `data/NOTICE`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use strata_dockerfile::{
    Checked, Dockerfile, Expander, Ignore, KnownBase, Statement, Warning, lint, lint_above, parse_statements,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The tree as BuildKit's tests print it.
fn dump(statements: &[Statement]) -> String {
    statements.iter().map(|statement| format!("({})\n", one(statement))).collect()
}

fn one(statement: &Statement) -> String {
    let mut out = statement.keyword.to_lowercase();
    if !statement.flags.is_empty() {
        let flags: Vec<String> = statement.flags.iter().map(|flag| quoted(flag)).collect();
        out += &format!(" [{}]", flags.join(" "));
    }
    if let Some(inner) = &statement.inner {
        out += &format!(" ({})", one(inner));
    }
    for word in &statement.arguments {
        out += &format!(" {}", quoted(word));
    }
    out
}

/// As Go quotes strings.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\t' => out += "\\t",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\u{8}' => out += "\\b",
            '\u{c}' => out += "\\f",
            '\0' => out += "\\x00",
            char => out.push(char),
        }
    }
    out + "\""
}

#[test]
fn dockerfiles_become_the_same_trees() {
    let mut seen = 0;
    for dir in fs::read_dir(data("buildkit/parser/testfiles")).unwrap() {
        let dir = dir.unwrap().path();
        let text = fs::read_to_string(dir.join("Dockerfile")).unwrap();
        let expected = fs::read_to_string(dir.join("result")).unwrap();
        let parsed = parse_statements(&text).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        assert_eq!(dump(&parsed.statements), expected, "{}", dir.display());
        seen += 1;
    }
    assert_eq!(seen, 33);
}

#[test]
fn what_is_no_dockerfile_is_refused() {
    for dir in fs::read_dir(data("buildkit/parser/negative")).unwrap() {
        let dir = dir.unwrap().path();
        let text = fs::read_to_string(dir.join("Dockerfile")).unwrap();
        assert!(parse_statements(&text).is_err(), "{}", dir.display());
    }
}

#[test]
fn statements_know_their_lines() {
    let text = fs::read_to_string(data("buildkit/parser/testfile-line/Dockerfile")).unwrap();
    let lines: Vec<_> = parse_statements(&text)
        .unwrap()
        .statements
        .iter()
        .map(|statement| (statement.line, statement.last_line))
        .collect();
    assert_eq!(lines, [(5, 5), (11, 12), (17, 31)]);
}

fn variable<'a>(env: &'a [(String, String)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

#[test]
fn words_expand_to_the_same_texts() {
    let env = [("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let text = fs::read_to_string(data("buildkit/shell/envVarTest")).unwrap();
    let mut seen = 0;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [platform, source, expected] = fields[..] else { panic!("{line}") };
        if platform == "W" {
            continue;
        }
        let made = Expander::new('\\').expand(source, &variable(&env)).map(|expanded| expanded.text);
        match made {
            Ok(text) => assert_eq!(text, expected, "{line}"),
            Err(error) => assert_eq!(expected, "error", "{line}: {error}"),
        }
        seen += 1;
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn words_are_split_at_the_same_places() {
    let text = fs::read_to_string(data("buildkit/shell/wordsTest")).unwrap();
    let mut env: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(set) = line.strip_prefix("ENV ") {
            let (name, value) = set.trim_start().split_once('=').unwrap();
            env.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let (source, expected) = line.split_once('|').unwrap();
        let made =
            Expander::new('\\').words(source.trim(), &variable(&env)).unwrap_or_else(|_| vec!["error".to_owned()]);
        assert_eq!(made.join(","), expected.trim_start_matches(' '), "{line}");
    }
}

fn lines(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(data(name)).expect("the table is there");
    text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[test]
fn modifiers_do_the_same_and_the_same_variables_are_used() {
    for case in lines("buildkit/shell/matches.jsonl") {
        let env: Vec<(String, String)> = case["env"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let made = Expander::new('\\').expand(case["input"].as_str().unwrap(), &variable(&env));
        if case["error"] == true {
            assert!(made.is_err(), "{case}: {made:?}");
            continue;
        }
        let made = made.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(made.text, case["expected"].as_str().unwrap(), "{case}");
        assert_eq!(made.used.into_iter().collect::<Vec<_>>(), strings(&case["matches"]), "{case}");
        assert_eq!(made.missing.into_iter().collect::<Vec<_>>(), strings(&case["unmatched"]), "{case}");
    }
}

#[test]
fn the_same_paths_are_ignored() {
    for case in lines("patternmatcher/matches.jsonl") {
        let ignore = Ignore::of_patterns(&strings(&case["patterns"])).unwrap();
        assert_eq!(ignore.ignores(case["path"].as_str().unwrap()), case["match"], "{case}");
    }
    for case in lines("patternmatcher/match.jsonl") {
        match Ignore::of_patterns(&strings(&case["patterns"])) {
            Ok(ignore) => assert_eq!(ignore.ignores(case["path"].as_str().unwrap()), case["match"], "{case}"),
            Err(_) => assert_eq!(case["error"], true, "{case}"),
        }
    }
}

/// Warnings as BuildKit's tests have them.
fn told(warnings: &[Warning]) -> Vec<String> {
    let line = |warning: &Warning| format!("{} {}: {}", warning.line, warning.rule, warning.message);
    warnings.iter().map(line).collect()
}

/// The stages that the last one begins with; the cases have no other needs.
fn reached(file: &Dockerfile) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = Some(file.stages.len() - 1);
    while let Some(index) = next.filter(|index| reached.insert(*index)) {
        next = file.stages[..index].iter().rposition(|stage| stage.name == file.stages[index].base);
    }
    reached
}

#[test]
fn checks_say_the_same() {
    let mut seen = 0;
    for line in fs::read_to_string(data("buildkit/check.jsonl")).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let strings = |name: &str| -> Vec<String> { serde_json::from_value(case[name].clone()).unwrap() };
        let text = case["dockerfile"].as_str().unwrap();
        let file = match Dockerfile::parse(text) {
            Ok(file) => file,
            Err(error) => {
                assert_eq!(case["error"], error.to_string());
                assert_eq!(told(&lint_above(text, error.line)), strings("check"), "{text}");
                seen += 1;
                continue;
            }
        };
        let arguments: BTreeMap<String, String> = serde_json::from_value(case["arguments"].clone()).unwrap_or_default();
        let ignore = case["ignore"].as_str().map(|text| Ignore::parse(text).unwrap());
        let reached = reached(&file);
        for (stages, name) in [(None, "check"), (Some(&reached), "build")] {
            // As there, the lines are compared of builds only, and no order.
            let line = |told: String| match name {
                "build" => told,
                _ => told.split_once(' ').map_or_else(String::new, |(_, rest)| rest.to_owned()),
            };
            let lines = |told: Vec<String>| told.into_iter().map(line).collect::<BTreeSet<_>>();
            let base = |_| Some(KnownBase::default());
            let checked = Checked { stages, arguments: &arguments, base: &base, ignore: ignore.as_ref() };
            let linted = lint(&file, &checked).unwrap();
            assert_eq!(lines(told(&linted.warnings)), lines(strings(name)), "{name}: {text}");
            // The other errors are those of platforms, which are no matter of the file alone.
            let error = case["error"].as_str().filter(|error| error.starts_with("lint"));
            assert_eq!(linted.refusal.as_deref(), error, "{text}");
        }
        seen += 1;
    }
    assert_eq!(seen, 87);
}
