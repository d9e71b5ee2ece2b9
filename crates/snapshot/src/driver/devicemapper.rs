//! A tree is a filesystem on a thin device, and becomes the copy of another as its snapshot: at once, and its blocks are shared
//! until one is written.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use strata_sys::thin::Pool;
use strata_types::mount::{Access, Mount};

use super::DriverName;
use super::tree::Trees;
use crate::{Error, Result};

/// Devices of the store's pool.
#[derive(Debug)]
pub(super) struct Devices {
    dir: PathBuf,
    pool: Pool,
}

/// A device's name in its holder.
const DEVICE: &str = "thin";

impl Devices {
    /// Those of the store at `root`.
    pub(super) fn new(root: &Path) -> Self {
        let dir = root.join("devicemapper");
        Self { pool: Pool::new(&dir), dir }
    }

    fn failed(act: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Mount { act, driver: DriverName::DeviceMapper, source }
    }
}

impl Trees for Devices {
    fn name(&self) -> DriverName {
        DriverName::DeviceMapper
    }

    fn make(&self, below: Option<&Path>, holder: &Path) -> Result<()> {
        let below = below.map(|below| below.join(DEVICE));
        self.pool.make(below.as_deref(), &holder.join(DEVICE)).map_err(Self::failed("make a thin device"))
    }

    fn open(&self, holder: &Path, access: Access) -> Result<OwnedFd> {
        let mount = self.pool.mount(&holder.join(DEVICE), access == Access::ReadWrite);
        let mount = mount.map_err(Self::failed("mount a thin device"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(mount, ".", flags, Mode::empty()).map_err(Error::at("open the files of", holder))
    }

    /// As with Docker: a container's filesystem may be larger than the image's, not smaller.
    fn make_limited(&self, below: Option<&Path>, container: &Path, bytes: u64) -> Result<()> {
        let below = below.map(|below| below.join(DEVICE));
        let least = self.pool.bytes(below.as_deref()).map_err(Self::failed("look at a thin device"))?;
        if bytes < least {
            let reason = format!("its filesystem is made of the image's, which has {least}");
            return Err(Error::LimitTooSmall { driver: self.name(), bytes, reason });
        }
        let made = self.pool.make_larger(below.as_deref(), &container.join(DEVICE), bytes);
        made.map_err(Self::failed("make a larger thin device"))
    }

    fn no_limit(&self, _home: &Path) -> Result<Option<String>> {
        Ok(None)
    }

    fn is_elsewhere(&self) -> bool {
        true
    }

    fn mount(&self, holder: &Path, sealed: bool) -> Result<Mount> {
        Ok(Mount::Thin { pool: self.dir.clone(), device: holder.join(DEVICE), sealed })
    }

    fn parts(&self) -> &'static [&'static str] {
        &[DEVICE]
    }

    fn tidy(&self) -> Result<()> {
        self.pool.tidy().map_err(Self::failed("give back blocks"))
    }
}

/// Asks for what a pool needs.
pub(super) fn probe() -> Result<(), String> {
    Pool::probe()
}
