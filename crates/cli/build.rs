//! Says which commit the program is built from, and tells the linker what to put side by side.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=STRATA_BUILD");
    // While developing, a commit should not build everything anew.
    if std::env::var("PROFILE").as_deref() == Ok("release")
        && let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = std::env::var("STRATA_BUILD").ok().or_else(|| git(&["rev-parse", "--short=7", "HEAD"]));
    println!("cargo::rustc-env=STRATA_BUILD={}", commit.unwrap_or_else(|| String::from("unknown")));
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        order();
    }
}

/// Puts the functions that a `run` calls side by side (docs/decisions/0045). Names that are not found are passed over.
fn order() {
    let list = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("functions.txt");
    println!("cargo::rerun-if-changed={}", list.display());
    let Ok(list) = std::fs::read_to_string(list) else { return };
    let inputs: String = list.lines().filter(|line| !line.starts_with('#')).map(input).collect();
    let script = format!("SECTIONS {{ .text.first : {{\n{inputs}}} }} INSERT BEFORE .text;\n");
    let path = Path::new(&std::env::var_os("OUT_DIR").unwrap_or_default()).join("order.ld");
    match std::fs::write(&path, script) {
        Ok(()) => println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", path.display()),
        Err(error) => println!("cargo::warning=functions are linked in any order: {error}"),
    }
}

/// A line of the list as linkers read it: a function's section, or all sections of one file of a library.
fn input(line: &str) -> String {
    match line.split_once(':') {
        Some((library, file)) => format!("*{library}:{file}(.text .text.*)\n"),
        // The compiler calls whatever is seldom called by a function unlikely.
        None => format!("*(.text.{line} .text.unlikely.{line})\n"),
    }
}

/// The output of git, if there is git and this is a checkout.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
