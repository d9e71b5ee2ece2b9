//! Which crate may use which: the architecture as a table. A new edge is a decision; change it in a commit of its own.

use std::collections::BTreeSet;
use std::process::Command;

/// Each crate with those it uses.
const EDGES: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("dockerfile", &["types"]),
    ("sys", &["types"]),
    ("store", &["sys", "types"]),
    ("layer", &["sys", "types"]),
    ("net", &["sys", "types"]),
    ("snapshot", &["layer", "store", "sys", "types"]),
    ("registry", &["store", "sys", "types"]),
    ("runtime", &["net", "sys", "types"]),
    ("engine", &["dockerfile", "layer", "net", "registry", "runtime", "snapshot", "store", "sys", "types"]),
    ("build", &["dockerfile", "engine", "layer", "sys", "types"]),
    ("cli", &["build", "dockerfile", "engine", "net", "runtime", "sys", "types"]),
    ("testkit", &["sys", "types"]),
];

#[test]
fn edges_between_crates_are_those_of_the_table() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(crate::tree::root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(name) = package["name"].as_str().unwrap().strip_prefix("strata-") else { continue };
        let allowed: BTreeSet<&str> = EDGES
            .iter()
            .find(|(from, _)| *from == name)
            .unwrap_or_else(|| panic!("{name} is not in the table"))
            .1
            .iter()
            .copied()
            .collect();
        for dependency in package["dependencies"].as_array().unwrap() {
            let Some(to) = dependency["name"].as_str().unwrap().strip_prefix("strata-") else { continue };
            let for_tests_only = dependency["kind"] == "dev";
            if !for_tests_only && !allowed.contains(to) {
                wrong.push(format!("{name} -> {to}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "edges that the table does not have");
}

#[test]
fn edges_in_the_table_go_downward() {
    let rank = |name: &str| EDGES.iter().position(|(from, _)| *from == name).unwrap();
    for (from, uses) in EDGES {
        for to in *uses {
            assert!(rank(to) < rank(from), "{from} -> {to}");
        }
    }
}
