//! A `fsck.erofs` that knows blocks of 512 bytes: that of the next Debian, unpacked with its libraries and not installed.
//!
//! ```text
//! target/erofs-utils/fsck.erofs   runs the program with its own loader and libraries; `testkit::host::fsck_erofs` finds it
//! target/erofs-utils/root/        what the packages hold
//! ```

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use strata_testkit::host;

use crate::base;
use crate::packages::apt;
use crate::shell::{Done, run, workspace};

/// Where there is one that is new enough.
const SUITE: &str = "trixie";

/// The program's package and those that it loads.
const PACKAGES: &[&str] = &[
    "erofs-utils",
    "libc6",
    "libdeflate0",
    "liblz4-1",
    "liblzma5",
    "libpcre2-8-0",
    "libselinux1",
    "libuuid1",
    "libxxhash0",
    "libzstd1",
    "zlib1g",
];

/// Gets it, once, if this machine's own is too old.
pub(crate) fn ensure() -> Done {
    if host::fsck_erofs().is_ok() {
        return Ok(());
    }
    eprintln!("Getting a newer fsck.erofs");
    let dir = workspace().join("target/erofs-utils");
    let new = dir.with_extension("new");
    for old in [&new, &dir] {
        if old.exists() {
            std::fs::remove_dir_all(old).map_err(|error| format!("cannot remove {}: {error}", old.display()))?;
        }
    }
    fetch(&new)?;
    std::fs::rename(&new, &dir).map_err(|error| format!("cannot keep {}: {error}", dir.display()))?;
    host::fsck_erofs().map(drop).map_err(|missing| format!("still missing: {missing}"))
}

fn fetch(dir: &Path) -> Done {
    let io = |error: std::io::Error| format!("cannot prepare {}: {error}", dir.display());
    for part in ["lists/partial", "cache/archives/partial", "root"] {
        std::fs::create_dir_all(dir.join(part)).map_err(io)?;
    }
    let mirror = base::mirror().ok_or("apt knows no mirror of Debian")?;
    let list = dir.join("sources.list");
    let key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg";
    std::fs::write(&list, format!("deb [{key}] {mirror} {SUITE} main\n")).map_err(io)?;
    // Lists of its own, so that this machine's apt learns nothing of the other release.
    let apt = |words: &[String]| {
        let mut command = apt();
        for (option, path) in [
            ("Dir::Etc::sourcelist", list.clone()),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::State::lists", dir.join("lists")),
            ("Dir::Cache", dir.join("cache")),
        ] {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        // The sandbox's user may not write here.
        command.args(["-o", "APT::Sandbox::User=root", "-qq"]).args(words).current_dir(dir);
        run(&mut command)
    };
    apt(&["update".to_owned()])?;
    let wanted = PACKAGES.iter().map(|package| format!("{package}/{SUITE}"));
    apt(&["download".to_owned()].into_iter().chain(wanted).collect::<Vec<_>>())?;
    for entry in std::fs::read_dir(dir).map_err(io)?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(dir.join("root")))?;
            std::fs::remove_file(entry.path()).map_err(io)?;
        }
    }
    for part in ["cache", "lists"] {
        std::fs::remove_dir_all(dir.join(part)).map_err(io)?;
    }
    let script = "#!/bin/sh\nroot=${0%/*}/root/usr\n\
                  exec \"$root\"/lib64/ld-linux-x86-64.so.2 --library-path \"$root\"/lib/x86_64-linux-gnu \
                  \"$root\"/bin/fsck.erofs \"$@\"\n";
    let wrapper = dir.join("fsck.erofs");
    std::fs::write(&wrapper, script).map_err(io)?;
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).map_err(io)
}
