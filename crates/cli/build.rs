//! Says which commit the program is built from.

use std::process::Command;

fn main() {
    let commit = std::env::var("STRATA_BUILD").ok().or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=7", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    println!("cargo::rustc-env=STRATA_BUILD={}", commit.unwrap_or_else(|| String::from("unknown")));
    println!("cargo::rerun-if-env-changed=STRATA_BUILD");
}
