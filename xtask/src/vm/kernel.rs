//! Debian's kernel: downloaded and unpacked, not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::apt;
use crate::shell::{Done, output, run};

/// The packages that depend on the newest kernel for guests, the first that there is. Debian 12 has a backport.
const NAMES: [&str; 2] = ["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"];

/// The parts of the modules' tree that are unpacked further: file systems, device mapper, networks.
const MODULES: &[&str] = &[
    "arch",
    "crypto",
    "drivers/block",
    "drivers/md",
    "drivers/net",
    "fs",
    "lib",
    "net/802",
    "net/bridge",
    "net/ipv4",
    "net/ipv6",
    "net/llc",
    "net/netfilter",
];

/// A kernel in a directory of its own.
pub(crate) struct Kernel {
    /// Its version.
    pub(crate) version: String,
    /// What qemu starts.
    pub(crate) image: PathBuf,
    /// `lib/modules/<version>`.
    pub(crate) modules: PathBuf,
}

/// Gives the kernel in `dir`; gets it there first if it is not.
pub(crate) fn debian(dir: &Path) -> Done<Kernel> {
    if !dir.is_dir() {
        let new = dir.with_extension("new");
        fetch(&new)?;
        std::fs::rename(&new, dir).map_err(|error| format!("cannot keep {}: {error}", dir.display()))?;
    }
    let versions = dir.join("lib/modules");
    let mut entries = std::fs::read_dir(&versions).map_err(|error| format!("cannot list {versions:?}: {error}"))?;
    let entry = entries.next().and_then(Result::ok).ok_or_else(|| format!("no kernel in {versions:?}"))?;
    let version = entry.file_name().to_string_lossy().into_owned();
    Ok(Kernel { image: dir.join(format!("boot/vmlinuz-{version}")), modules: entry.path(), version })
}

fn fetch(dir: &Path) -> Done {
    eprintln!("Getting Debian's kernel for guests");
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(|error| format!("cannot remove {}: {error}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    let package = match newest()? {
        Some(package) => package,
        None => {
            run(apt().args(["update", "-q"]))?;
            newest()?.ok_or_else(|| format!("apt knows none of {}", NAMES.join(", ")))?
        }
    };
    // The sandbox's user may not write here.
    run(apt().args(["-o", "APT::Sandbox::User=root", "-qq", "download", &package]).current_dir(dir))?;
    let entries = std::fs::read_dir(dir).map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    let archive = entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|x| x == "deb"));
    let archive = archive.ok_or_else(|| format!("apt downloaded no {package}"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(dir))?;
    std::fs::remove_file(&archive).map_err(|error| format!("cannot remove {}: {error}", archive.display()))?;
    select_modules(dir)
}

/// The kernel's package that one of [`NAMES`] depends on.
fn newest() -> Done<Option<String>> {
    for name in NAMES {
        let depends = output(Command::new("apt-cache").args(["depends", name]).env("LC_ALL", "C")).unwrap_or_default();
        let mut found = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        if let Some(package) = found.find(|package| package.starts_with("linux-image-")) {
            return Ok(Some(package.to_owned()));
        }
    }
    Ok(None)
}

/// Leaves the modules that tests need, uncompressed: an emulated machine takes seconds for what we do at once.
fn select_modules(dir: &Path) -> Done {
    let script = "set -e; cd \"$1\"/lib/modules/*; version=${PWD##*/}; mv kernel all; shift; \
                  for part; do [ ! -d all/$part ] || { mkdir -p kernel/$part; cp -r all/$part/. kernel/$part/; }; done; \
                  rm -rf all; find kernel -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P 2 xz -d; \
                  depmod -b ../../.. \"$version\"";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(dir).args(MODULES))
}
