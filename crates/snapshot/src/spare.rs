//! The writable layer of a short container that left it as it got it, for the next one on the same layers
//! (docs/decisions/0048).
//!
//! ```text
//! layers/spare/       such a container's directory, with nothing in it but its footing and the driver's parts
//! ```
//!
//! Its overlay stays mounted meanwhile ([`strata_sys::spare_union`]), which says whose it is. Who takes it gets both by
//! renaming the directory; who dies with it leaves a container like any other.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use strata_sys::layer_mounts::LayerMounts;
use strata_sys::spare_union::{self, SpareUnion};
use strata_sys::{durable, failpoint, user_namespace};
use strata_types::{ContainerId, DiffId};

use crate::driver::upper;
use crate::snapshots::{FOOTING, Footing, Prepare};
use crate::{DriverName, Error, Result, Snapshots};

impl Snapshots {
    /// [`prepare`](Self::prepare) for a container that goes with its program: it may get the writable layer of one that left it
    /// as it was.
    pub fn prepare_short(&self, id: &ContainerId, layers: &[DiffId]) -> Result<()> {
        let footing = Footing { layers: layers.to_vec(), volatile: true, unsettled: false };
        let is_taken = self.spare().map_or(Ok(false), |spare| spare.take(&self.container_dir(id), &footing))?;
        if is_taken {
            return Ok(());
        }
        self.prepare(id, layers, Prepare { volatile: true, size_bytes: None })
    }

    /// The writable layer that is kept for the next container, if the driver is one whose layers are mounted in a namespace of
    /// their own: the union is kept there.
    pub(crate) fn spare(&self) -> Option<Spare> {
        let has_images = self.driver_name() == DriverName::Erofs;
        (has_images && user_namespace::is_initial()).then(|| Spare::new(self.root(), self.mounts.clone()))
    }

    /// Removes it.
    pub(crate) fn drop_spare(&self) -> Result<()> {
        self.spare().map_or(Ok(()), |spare| spare.forget())
    }
}

/// That of one store.
pub(crate) struct Spare {
    dir: PathBuf,
    union: SpareUnion,
}

impl Spare {
    /// Names that of the store at `root`.
    pub(crate) fn new(root: &Path, mounts: LayerMounts) -> Self {
        Self { dir: root.join("layers/spare"), union: SpareUnion::new(mounts) }
    }

    /// Makes it the directory of a new container that stands on that. False if it is not for those layers, or if there is
    /// none.
    pub(crate) fn take(&self, container: &Path, footing: &Footing) -> Result<bool> {
        let text = serde_json::to_vec(footing);
        let text = text.map_err(|source| Error::Record { path: self.dir.join(FOOTING), source })?;
        let take = || {
            match std::fs::read(self.dir.join(FOOTING)) {
                Ok(found) if found == text => {}
                _ => return Ok(false),
            }
            failpoint!("snapshot.spare.claimed");
            // There may be files of others in the container's directory.
            if std::fs::rename(&self.dir, container).is_err() {
                return Ok(false);
            }
            failpoint!("snapshot.spare.taken");
            spare_union::renew(&upper::dir(container)).map(|()| true)
        };
        self.union.claim(take).map_err(Error::at("take", &self.dir))
    }

    /// Keeps the directory of a container that is removed, if the next one can have it.
    pub(crate) fn keep(&self, container: &Path) -> Result<bool> {
        let keep = || Ok(upper::is_as_made(container)? && self.put_away(container)?);
        self.release(&upper::dir(container), keep)
    }

    /// The container's writable layer, of which this is the upper directory, is not for others.
    pub(crate) fn leave(&self, upper: &Path) -> Result<()> {
        self.release(upper, || Ok(false)).map(drop)
    }

    /// Removes it, so that it holds no layer.
    pub(crate) fn forget(&self) -> Result<()> {
        self.union.forget().map_err(Error::at("let go of", &self.dir))?;
        durable::remove(&self.dir).map(drop).map_err(Error::from)
    }

    fn release(&self, upper: &Path, keep: impl FnOnce() -> io::Result<bool>) -> Result<bool> {
        let keep = || {
            keep().or_else(|error| {
                // It is removed like others.
                tracing::debug!(%error, "a writable layer is not kept");
                Ok(false)
            })
        };
        self.union.release(upper, keep).map_err(Error::at("let go of", upper))
    }

    fn put_away(&self, container: &Path) -> io::Result<bool> {
        for entry in std::fs::read_dir(container)? {
            let name = entry?.file_name();
            if !upper::LASTING.iter().chain([&FOOTING]).any(|lasting| name == *lasting) {
                durable::remove(&container.join(&name)).map_err(|error| error.source)?;
            }
        }
        failpoint!("snapshot.spare.emptied");
        match renameat_with(CWD, container, CWD, &self.dir, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {
                // One that nobody can have any more: its union is gone.
                durable::remove(&self.dir).map_err(|error| error.source)?;
                std::fs::rename(container, &self.dir)?;
            }
            renamed => renamed?,
        }
        Ok(true)
    }
}
