//! Says which commit the program is built from.

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
}

/// The output of git, if there is git and this is a checkout.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
