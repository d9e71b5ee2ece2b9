//! What is known about this engine and its host.

use strata_runtime::Status;

use crate::{Engine, Result};

/// What is known about this engine and its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// How many containers there are, by what they do.
    pub running: usize,
    /// Frozen.
    pub paused: usize,
    /// All others.
    pub stopped: usize,
    /// How many images there are.
    pub images: usize,
    /// The storage driver.
    pub driver: String,
    /// The storage drivers and why some of them do not work here.
    pub drivers: Vec<DriverState>,
    /// The root directory.
    pub root: std::path::PathBuf,
    /// The filesystem the root directory is on, such as `ext4`.
    pub filesystem: String,
    /// Bytes free there.
    pub free_bytes: u64,
}

/// Whether a storage driver works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverState {
    /// Its name.
    pub name: String,
    /// Why it does not, if so.
    pub missing: Option<String>,
}

impl Engine {
    /// Gathers what is known about this engine and its host.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn info(&self) -> Result<Info> {
        let (mut running, mut paused, mut stopped) = (0, 0, 0);
        for container in self.store().containers().list()? {
            match self.process(&container.id).state()?.status {
                Status::Running => running += 1,
                Status::Paused => paused += 1,
                _ => stopped += 1,
            }
        }
        let snapshots = self.snapshots()?;
        let drivers = snapshots.availability()?.into_iter();
        let drivers = drivers.map(|one| DriverState { name: one.driver.to_string(), missing: one.missing }).collect();
        Ok(Info {
            running,
            paused,
            stopped,
            images: self.store().images().list()?.len(),
            driver: snapshots.driver_name().to_string(),
            drivers,
            root: self.settings().root.clone(),
            filesystem: filesystem(&self.settings().root),
            free_bytes: self.free_bytes()?,
        })
    }
}

/// The name of the filesystem that holds `path`.
fn filesystem(path: &std::path::Path) -> String {
    let Ok(stat) = rustix::fs::statfs(path) else { return "unknown".to_owned() };
    // linux/magic.h
    let name = match stat.f_type {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0xf2f5_2010 => "f2fs",
        other => return format!("{other:#x}"),
    };
    name.to_owned()
}
