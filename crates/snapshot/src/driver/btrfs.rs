//! A tree is a subvolume of btrfs, and becomes the copy of another as its snapshot: at once, and without taking room.

use std::os::fd::AsFd as _;
use std::path::Path;

use strata_sys::project::NOT_ROOT;
use strata_sys::{btrfs, user_namespace};
use strata_types::plain;

use super::DriverName;
use super::recorded::{FILES, open_dir};
use super::tree::Trees;
use crate::{Error, Result};

/// Subvolumes. Those of layers cannot be written.
#[derive(Debug)]
pub(super) struct Subvolumes;

impl Trees for Subvolumes {
    fn name(&self) -> DriverName {
        DriverName::Btrfs
    }

    fn make(&self, below: Option<&Path>, holder: &Path) -> Result<()> {
        let to = holder.join(FILES);
        match below {
            Some(below) => btrfs::snapshot(&below.join(FILES), &to)
                .map_err(Error::at("make a snapshot of the layer below as", &to)),
            None => {
                btrfs::create(&to).map_err(Error::at("create the subvolume", &to))?;
                // The kernel takes the process's mask into account.
                let mode = rustix::fs::Mode::from_raw_mode(0o755);
                rustix::fs::fchmod(open_dir(&to)?, mode).map_err(Error::at("set the mode of", &to))
            }
        }
    }

    fn seal(&self, holder: &Path) -> Result<()> {
        let path = holder.join(FILES);
        btrfs::set_read_only(open_dir(&path)?.as_fd(), true).map_err(Error::at("seal the subvolume", &path))
    }

    fn make_limited(&self, below: Option<&Path>, container: &Path, bytes: u64) -> Result<()> {
        self.make(below, container)?;
        let path = container.join(FILES);
        btrfs::limit(&path, bytes).map_err(Error::at("limit the size of the subvolume", &path))
    }

    fn no_limit(&self, _home: &Path) -> Result<Option<String>> {
        Ok((!user_namespace::is_initial()).then(|| NOT_ROOT.to_owned()))
    }

    /// A file that is synced goes into a log of its own, and removals stay behind.
    fn settle(&self, home: &Path) -> Result<()> {
        if !home.exists() {
            // Nothing was ever there, as after somebody died who was making the first container.
            return Ok(());
        }
        rustix::fs::syncfs(open_dir(home)?).map_err(Error::at("sync", home))
    }
}

/// Makes a subvolume.
pub(super) fn probe(scratch: &Path) -> Result<(), String> {
    match btrfs::is_btrfs(scratch) {
        Ok(true) => {}
        Ok(false) => return Err("the root directory is not on btrfs".to_owned()),
        Err(error) => return Err(plain(&error)),
    }
    let made = btrfs::create(&scratch.join("probe-subvolume"));
    made.map_err(|error| format!("no subvolume can be made here: {}", plain(&error)))
}
