//! A real Debian base image made from packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shell::{Done, run, workspace};

/// The release the images are made of.
pub(crate) const SUITE: &str = "bookworm";

/// Gives the tar of a minimal Debian root; makes it once (about 20 s) and keeps it below `target/`.
///
/// The package mirror is the one this machine's apt uses. The package lists are left out, as in official images.
pub(crate) fn debian() -> Done<PathBuf> {
    make("debian", &[])
}

/// The same with the release's security updates: the base that images are rebuilt on some months later.
pub(crate) fn debian_updated() -> Done<PathBuf> {
    let mirror = mirror_with("security").ok_or("apt knows no mirror of security updates")?;
    make("debian-up", &[format!("deb {mirror} {SUITE}-security main")])
}

fn make(name: &str, sources: &[String]) -> Done<PathBuf> {
    let dir = workspace().join("target/images");
    let tar = dir.join(format!("{name}.tar"));
    if tar.is_file() {
        return Ok(tar);
    }
    std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    eprintln!("Making a Debian {SUITE} base image from packages");
    let part = tar.with_extension("tar.part");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--mode=root", "--components=main", "--format=tar"]);
    command.arg("--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin \"$1\"/var/log/*.log");
    command.arg(SUITE).arg(&part).args(mirror()).args(sources).stdin(Stdio::null());
    run(&mut command)?;
    std::fs::rename(&part, &tar).map_err(|error| format!("cannot keep {}: {error}", tar.display()))?;
    Ok(tar)
}

/// The first mirror in apt's own lists; mmdebstrap's default where there is none.
pub(crate) fn mirror() -> Option<String> {
    mirror_with("")
}

/// The first mirror in apt's own lists whose name contains a word.
fn mirror_with(word: &str) -> Option<String> {
    let lists = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let text: String = lists.iter().filter_map(|list| std::fs::read_to_string(Path::new(list)).ok()).collect();
    text.lines().find_map(|line| {
        let line = line.trim();
        let uri = line.strip_prefix("URIs:").or_else(|| line.strip_prefix("deb "))?;
        uri.split_whitespace().find(|uri| uri.starts_with("http") && uri.contains(word)).map(str::to_owned)
    })
}
