//! What happens when somebody reads a part of a layer that the disk has damaged.

use std::fmt;

use strata_sys::{durable, verity};

use crate::{DriverName, Error, Result, Snapshots};

/// What happens when somebody reads a part of a layer that the disk has damaged (docs/decisions/0009).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// An error: the layer's files are sealed with fs-verity.
    Sealed,
    /// An error: the filesystem, of this name, keeps checksums of all data.
    Checksums(&'static str),
    /// Nothing: a check finds it. Why it is so.
    Unseen(&'static str),
}

impl Snapshots {
    /// Finds out by trying, in the driver's own directory.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn integrity(&self) -> Result<Integrity> {
        let dir = self.layers_dir();
        durable::create_dirs(&dir, 0o711)?;
        let at = |error| Error::at("look at", &dir)(error);
        let stat = rustix::fs::statfs(&dir).map_err(|error| at(error.into()))?;
        // linux/magic.h
        match stat.f_type {
            0x9123_683e => return Ok(Integrity::Checksums("btrfs")),
            0x2fc1_2fc1 => return Ok(Integrity::Checksums("zfs")),
            0xca45_1a4e => return Ok(Integrity::Checksums("bcachefs")),
            _ => {}
        }
        if self.driver_name() != DriverName::Erofs {
            return Ok(Integrity::Unseen("only `erofs` seals its files"));
        }
        Ok(if verity::works_in(&dir).map_err(at)? {
            Integrity::Sealed
        } else {
            Integrity::Unseen("the filesystem has no fs-verity; ext4 has it after `tune2fs -O verity DEVICE`")
        })
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed => f.write_str("fs-verity: reading what is damaged is an error"),
            Self::Checksums(filesystem) => write!(f, "checksums of {filesystem}: reading what is damaged is an error"),
            Self::Unseen(why) => write!(f, "found by `strata check` only: {why}"),
        }
    }
}
