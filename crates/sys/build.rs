//! Says whether the program is linked with a C library whose start is ours (`src/start.rs`).

use std::path::Path;
use std::process::Command;

/// What says the library's version, where it usually is.
const FEATURES: &str = "/usr/include/features.h";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(own_start)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    // A system that was upgraded has another library. A file that is not there would run this at each build.
    if Path::new(FEATURES).exists() {
        println!("cargo::rerun-if-changed={FEATURES}");
    }
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let ours = target("OS") == "linux" && target("ARCH") == "x86_64" && target("ENV") == "gnu";
    if ours && is_static(&target("FEATURE")) && glibc() == Some((2, 36)) {
        println!("cargo::rustc-cfg=own_start");
    }
}

/// Whether there is no loader, and nothing to relocate.
fn is_static(features: &str) -> bool {
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    features.split(',').any(|feature| feature == "crt-static") && flags.contains("relocation-model=static")
}

/// The version of the GNU C library that the C compiler, which is also the linker, would use.
fn glibc() -> Option<(u32, u32)> {
    let output =
        Command::new("cc").args(["-E", "-dM", "-include", "features.h", "-x", "c", "/dev/null"]).output().ok()?;
    let macros = String::from_utf8(output.stdout).ok()?;
    let number = |name: &str| {
        macros.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.trim().parse().ok())
    };
    Some((number("__GLIBC__ ")?, number("__GLIBC_MINOR__ ")?))
}
