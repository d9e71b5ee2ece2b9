//! Datasets of ZFS, each a filesystem, some of them clones of others' snapshots; by the program `zfs`.
//!
//! ```text
//! DIR/name             of the dataset below which all others are, without which there is none
//! DIR/sets/<name>      a dataset's name; another name of that file is with whom the dataset belongs to
//! DIR/lock             flock'd while datasets are made or destroyed
//! ```
//!
//! A dataset whose file's other name is gone belongs to nobody. So who removes the directory of a layer or container has
//! removed its dataset, too, and [`Datasets::tidy`] destroys it, after those that are clones of it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::MountAttrFlags;

use crate::durable::{self, Durability};
use crate::lock::{Lock, Mode};
use crate::{detached, failpoint};

/// `ZFS_SUPER_MAGIC`.
const MAGIC: i64 = 0x2fc1_2fc1;
/// The snapshot of a dataset of which all its clones are made.
const SNAPSHOT: &str = "@strata";
/// The program.
const PROGRAM: &str = "zfs";

/// The datasets of one store.
#[derive(Clone, Debug)]
pub struct Datasets {
    dir: PathBuf,
    program: OsString,
}

impl Datasets {
    /// Names those that are kept in `dir`, which lies on ZFS. Nothing is made yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), program: PROGRAM.into() }
    }

    /// What is lacking for datasets of a store that has `dir`, in words.
    pub fn probe(dir: &Path) -> Result<(), String> {
        match rustix::fs::statfs(dir) {
            Ok(about) if about.f_type == MAGIC => {}
            Ok(_) => return Err("the root directory is not on ZFS".to_owned()),
            Err(error) => return Err(io::Error::from(error).to_string()),
        }
        let this = Self::new(dir);
        let found = this.run(&["list", "-H", "-o", "name", &text(dir).map_err(|error| error.to_string())?]);
        found.map(drop).map_err(|error| error.to_string())
    }

    /// Makes a dataset, a clone of that whose name is in the file `below` or an empty one, and writes its name to the file
    /// `at`. The one below is not written any more.
    pub fn make(&self, below: Option<&Path>, at: &Path) -> io::Result<()> {
        let _lock = self.lock()?;
        let parent = self.parent()?;
        let origin = below.map(read).transpose()?.map(|name| format!("{name}{SNAPSHOT}"));
        let id = crate::random::hex::<8>();
        let (name, path) = (format!("{parent}/{id}"), self.dir.join("sets").join(&id));
        // Whoever dies after this leaves a file that `tidy` takes for that of a dataset that nobody has.
        let written = durable::write_file(&path, name.as_bytes(), 0o600, Durability::Durable);
        written.map_err(|error| error.source)?;
        failpoint!("sys.zfs.reserved");
        match origin {
            Some(origin) => self.run(&["clone", "-o", "mountpoint=legacy", "-o", "readonly=off", &origin, &name])?,
            None => self.run(&["create", "-o", "mountpoint=legacy", &name])?,
        };
        failpoint!("sys.zfs.made");
        std::fs::hard_link(&path, at)
    }

    /// Takes the snapshot of which clones are made: from now on nothing in the dataset changes.
    pub fn seal(&self, at: &Path) -> io::Result<()> {
        let name = read(at)?;
        self.run(&["snapshot", &format!("{name}{SNAPSHOT}")]).map(drop)
    }

    /// Limits what a dataset may take on the disk beside what it has in common with that which it is a clone of.
    pub fn limit(&self, at: &Path, bytes: u64) -> io::Result<()> {
        self.run(&["set", &format!("quota={bytes}"), &read(at)?]).map(drop)
    }

    /// Destroys datasets that belong to nobody any more. Those that somebody sees, or that others are clones of, go later.
    pub fn tidy(&self) -> io::Result<()> {
        let sets = self.dir.join("sets");
        let _lock = self.lock()?;
        let mut orphans = Vec::new();
        for entry in std::fs::read_dir(&sets)? {
            let entry = entry?;
            if entry.metadata()?.nlink() == 1 {
                orphans.push((entry.path(), read(&entry.path())?));
            }
        }
        // A clone goes before what it is a clone of, whatever their order here.
        let mut left = orphans.len() + 1;
        while orphans.len() < left {
            left = orphans.len();
            let mut kept = Vec::new();
            for (path, name) in orphans {
                match self.run(&["destroy", "-r", &name]) {
                    // It may never have been made.
                    Err(error) if !error.to_string().contains("does not exist") => {
                        tracing::debug!(%error, "a dataset that nobody has stays for now");
                        kept.push((path, name));
                    }
                    _ => {
                        failpoint!("sys.zfs.destroyed");
                        durable::remove(&path).map_err(|error| error.source)?;
                    }
                }
            }
            orphans = kept;
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<Lock> {
        durable::create_dirs(&self.dir.join("sets"), 0o700).map_err(|error| error.source)?;
        Lock::wait(&self.dir.join("lock"), Mode::Exclusive)
    }

    /// The dataset below which all others are; made the first time, below that on which the store lies.
    fn parent(&self) -> io::Result<String> {
        let path = self.dir.join("name");
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        let store = self.run(&["list", "-H", "-o", "name", &text(&self.dir)?])?;
        let name = format!("{store}/strata-{}", crate::random::hex::<8>());
        self.run(&["create", "-o", "mountpoint=legacy", "-o", "canmount=off", &name])?;
        durable::write_file(&path, name.as_bytes(), 0o600, Durability::Durable).map_err(|error| error.source)?;
        Ok(name)
    }

    /// Runs the program and gives what it prints.
    fn run(&self, words: &[&str]) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(words).env("LC_ALL", "C").stdin(Stdio::null());
        let output = command
            .output()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot run the program `{PROGRAM}`: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(io::Error::other(format!("`zfs {}` failed: {said}", words.first().unwrap_or(&""))))
    }
}

/// The name of a dataset, in a file of [`Datasets::make`].
pub fn read(at: &Path) -> io::Result<String> {
    let name = std::fs::read_to_string(at)?;
    if name.is_empty() || name.contains(['\n', '@']) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no dataset's name"));
    }
    Ok(name)
}

/// Mounts a dataset as a detached mount. All who have one mounted have it so that it can be written, or none.
pub fn mount(name: &str, writable: bool) -> io::Result<OwnedFd> {
    let access = if writable { "rw" } else { "ro" };
    Ok(detached::filesystem("zfs", &[&format!("source={name}"), access], MountAttrFlags::empty())?)
}

fn text(path: &Path) -> io::Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the store's path is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Keeps datasets as directories in `$0.d`, refuses what ZFS refuses, and writes down what it was asked.
    const ZFS: &str = r#"#!/bin/sh
echo "$*" >> "$0.said"
for last; do :; done
at=$0.d/$last
case $1 in
list) echo tank/store;;
create) mkdir -p "$at";;
snapshot) [ -d "$0.d/${last%@*}" ] && mkdir "$at";;
clone) for word; do case $word in *@*) origin=$word;; esac; done
    [ -d "$0.d/$origin" ] && mkdir "$at" && ln -s "$last" "$0.d/$origin/clone-${last##*/}";;
set) :;;
destroy) [ -d "$at" ] || { echo "cannot open '$last': dataset does not exist" >&2; exit 1; }
    if [ -d "$at@strata" ] && [ -n "$(ls "$at@strata")" ]; then echo "filesystem has dependent clones" >&2; exit 1; fi
    rm -rf "$at" "$at@strata"; rm -f "$0.d/${last%/*}"/*@strata/"clone-${last##*/}";;
esac
"#;

    fn datasets(dir: &Path) -> Datasets {
        let program = dir.join("zfs");
        std::fs::write(&program, ZFS).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Datasets { program: program.into(), ..Datasets::new(&dir.join("store")) }
    }

    #[test]
    fn what_nobody_has_goes_clones_first() {
        let dir = tempfile::tempdir().unwrap();
        let datasets = datasets(dir.path());
        let [layer, second, container] = ["layer", "second", "container"].map(|name| dir.path().join(name));
        datasets.make(None, &layer).unwrap();
        datasets.seal(&layer).unwrap();
        datasets.make(Some(&layer), &second).unwrap();
        datasets.seal(&second).unwrap();
        datasets.make(Some(&second), &container).unwrap();
        datasets.limit(&container, 4096).unwrap();
        let parent = std::fs::read_to_string(dir.path().join("store/name")).unwrap();
        let short = |path: &Path| read(path).unwrap().strip_prefix(&format!("{parent}/")).unwrap().to_owned();
        let names = [&layer, &second, &container].map(|path| short(path));
        let said = || {
            let mut said = std::fs::read_to_string(dir.path().join("zfs.said")).unwrap();
            std::fs::write(dir.path().join("zfs.said"), "").unwrap();
            for (name, id) in ["A", "B", "C"].iter().zip(&names) {
                said = said.replace(id, name);
            }
            said.replace(&parent, "P").replace(dir.path().to_str().unwrap(), "DIR")
        };
        assert_eq!(
            said(),
            "list -H -o name DIR/store\ncreate -o mountpoint=legacy -o canmount=off P\ncreate -o mountpoint=legacy P/A\n\
             snapshot P/A@strata\nclone -o mountpoint=legacy -o readonly=off P/A@strata P/B\nsnapshot P/B@strata\n\
             clone -o mountpoint=legacy -o readonly=off P/B@strata P/C\nset quota=4096 P/C\n"
        );
        datasets.tidy().unwrap();
        assert_eq!(said(), "");
        // The layer goes first, but others are clones of it.
        std::fs::remove_file(&layer).unwrap();
        datasets.tidy().unwrap();
        assert_eq!(said(), "destroy -r P/A\n");
        for path in [&second, &container] {
            std::fs::remove_file(path).unwrap();
        }
        datasets.tidy().unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("store/sets")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(dir.path().join("zfs.d").join(&parent)).unwrap().count(), 0);
    }

    #[test]
    fn who_dies_between_leaves_nothing_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let datasets = datasets(dir.path());
        datasets.tidy().unwrap();
        // Written down, but not made.
        let name = format!("{}/0123", datasets.parent().unwrap());
        std::fs::write(dir.path().join("store/sets/0123"), name).unwrap();
        datasets.tidy().unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("store/sets")).unwrap().count(), 0);
        let refused = datasets.make(Some(&dir.path().join("nothing")), &dir.path().join("new")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
