//! References against a table made with PyPI's `docker-image-py`, which follows distribution/reference of 2017.
//!
//! `data/references.tsv`: input, then domain, path, tag and digest, or `!` and why it was refused.

use proptest::prelude::*;
use strata_types::Reference;

const TABLE: &str = include_str!("data/references.tsv");

/// What we say, in the table's form.
fn ours(input: &str) -> String {
    match input.parse::<Reference>() {
        Ok(reference) => {
            let digest = reference.digest().map(ToString::to_string).unwrap_or_default();
            [reference.domain(), reference.path(), reference.tag().unwrap_or_default(), &digest].join("\t")
        }
        Err(_) => "!".to_owned(),
    }
}

/// Why we differ, where we do so on purpose.
fn intended(input: &str) -> Option<&'static str> {
    let (first, rest) = input.split_once('/').unwrap_or(("", input));
    if first.starts_with('[') {
        return Some("addresses of version 6 came later");
    }
    if first == "a_b.c" {
        return Some("what looks like a domain and is none would become a path without a domain");
    }
    if rest.len() > 200 {
        return Some("the limit is for the path alone since distribution/reference 0.6");
    }
    None
}

#[test]
fn the_table_agrees() {
    let mut differences = Vec::new();
    for line in TABLE.lines() {
        let (input, expected) = line.split_once('\t').unwrap();
        let expected = if expected.starts_with('!') { "!" } else { expected };
        let found = ours(input);
        if found != expected && intended(input).is_none() {
            differences.push(format!("{input}: {found:?}, expected {expected:?}"));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(input in "([a-z0-9.-]{1,8}(:[0-9]{1,4})?/)?[a-z0-9._/-]{1,12}(:[A-Za-z0-9._-]{1,6})?") {
        if let Ok(reference) = input.parse::<Reference>() {
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
        }
    }

    #[test]
    fn no_string_panics(input in "\\PC*") {
        let _either = input.parse::<Reference>();
    }
}
