//! Building the program.

use std::path::PathBuf;

use crate::shell::{Done, cargo, output, run, workspace};

/// Builds the release binary and says where it is.
pub(crate) fn release() -> Done<PathBuf> {
    run(&mut cargo(&["build", "--release", "--quiet", "--package", "strata-cli"]))?;
    Ok(target()?.join("release/strata"))
}

/// The folder of the host's target triple, where `.cargo/config.toml` puts everything.
pub(crate) fn target() -> Done<PathBuf> {
    let version = output(std::process::Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    let dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    Ok(dir.join(host))
}
