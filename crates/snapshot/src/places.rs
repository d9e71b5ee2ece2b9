//! What every running container has something mounted on: the lowest layer of all, so that images which lack these names
//! have them without a container having to write them. They would be in `diff` and in every commit otherwise.

use std::fs::File;
use std::path::{Path, PathBuf};

use strata_sys::durable;

use crate::{Error, Result};

/// Docker's list (moby, `daemon/initlayer`).
const DIRS: &[&str] = &["dev/pts", "dev/shm", "dev/mqueue", "etc", "proc", "sys"];
const FILES: &[&str] = &["dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
const MTAB: &str = "etc/mtab";

/// Makes the directory when it is missing, in one step, and gives its path.
pub(crate) fn ensure(dir: &Path) -> Result<PathBuf> {
    if dir.is_dir() {
        return Ok(dir.to_owned());
    }
    let new = dir.with_extension(format!("new-{}", strata_sys::random::hex::<8>()));
    for name in DIRS {
        durable::create_dirs(&new.join(name), 0o755)?;
    }
    for name in FILES {
        let path = new.join(name);
        File::create(&path).map_err(Error::at("create", &path))?;
    }
    let mtab = new.join(MTAB);
    std::os::unix::fs::symlink("/proc/mounts", &mtab).map_err(Error::at("create", &mtab))?;
    match rustix::fs::rename(&new, dir) {
        Ok(()) => {}
        // Another process was quicker.
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => drop(durable::remove(&new)?),
        Err(error) => return Err(Error::at("rename into place", dir)(error)),
    }
    Ok(dir.to_owned())
}
