//! A tree is a dataset of ZFS, and becomes the copy of another as a clone of its snapshot: at once, and without taking room.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use strata_sys::zfs::{self, Datasets};
use strata_types::mount::{Access, Mount};

use super::DriverName;
use super::tree::Trees;
use crate::{Error, Result};

/// Datasets below the one on which the store lies.
#[derive(Debug)]
pub(super) struct Clones(Datasets);

/// A dataset's name in its holder.
const DATASET: &str = "zfs";

impl Clones {
    /// Those of the store at `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self(Datasets::new(&root.join("zfs")))
    }

    fn failed(act: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Mount { act, driver: DriverName::Zfs, source }
    }
}

impl Trees for Clones {
    fn name(&self) -> DriverName {
        DriverName::Zfs
    }

    fn make(&self, below: Option<&Path>, holder: &Path) -> Result<()> {
        let below = below.map(|below| below.join(DATASET));
        self.0.make(below.as_deref(), &holder.join(DATASET)).map_err(Self::failed("make a dataset"))
    }

    fn open(&self, holder: &Path, access: Access) -> Result<OwnedFd> {
        let name = zfs::read(&holder.join(DATASET)).map_err(Error::at("read", holder))?;
        let mount = zfs::mount(&name, access == Access::ReadWrite).map_err(Self::failed("mount a dataset"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(mount, ".", flags, Mode::empty()).map_err(Error::at("open the files of", holder))
    }

    fn seal(&self, holder: &Path) -> Result<()> {
        self.0.seal(&holder.join(DATASET)).map_err(Self::failed("take a snapshot of a dataset"))
    }

    fn no_limit(&self, _home: &Path) -> Result<Option<String>> {
        Ok(None)
    }

    fn make_limited(&self, below: Option<&Path>, container: &Path, bytes: u64) -> Result<()> {
        self.make(below, container)?;
        self.0.limit(&container.join(DATASET), bytes).map_err(Self::failed("limit a dataset"))
    }

    fn is_elsewhere(&self) -> bool {
        true
    }

    fn mount(&self, holder: &Path, sealed: bool) -> Result<Mount> {
        let name = zfs::read(&holder.join(DATASET)).map_err(Error::at("read", holder))?;
        Ok(Mount::Dataset { name, sealed })
    }

    fn parts(&self) -> &'static [&'static str] {
        &[DATASET]
    }

    fn tidy(&self) -> Result<()> {
        self.0.tidy().map_err(Self::failed("destroy datasets"))
    }
}

/// Asks for what datasets need.
pub(super) fn probe(scratch: &Path) -> std::result::Result<(), String> {
    Datasets::probe(scratch)
}
