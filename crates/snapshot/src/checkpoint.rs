//! A container's files at a moment, and back to it.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use strata_layer::pipeline::{self, Capture};
use strata_layer::tar::Times;
use strata_sys::durable::{self, Durability};
use strata_sys::failpoint;
use strata_types::{ContainerId, DiffId, Watch};

use crate::driver::Source;
use crate::snapshots::{FOOTING, Footing};
use crate::{Error, LayerAdded, Prepare, Result, Snapshots};

/// What a container changed, taken down at a moment but not a layer yet.
#[derive(Debug)]
pub struct Captured {
    layers: Vec<DiffId>,
    tar: Option<pipeline::Captured>,
}

impl Captured {
    /// The layers below the changes, lowest first.
    pub fn layers(&self) -> &[DiffId] {
        &self.layers
    }
}

impl Snapshots {
    /// Takes down what a container changed, as fast as possible: who needs one moment of it keeps its processes still
    /// meanwhile. Small files are read; the data of large ones is shared where the filesystem can, copied where not.
    pub fn capture(&self, id: &ContainerId, watch: &dyn Watch) -> Result<Captured> {
        // These are somebody's files, and `make` looks at the time of each.
        let (layers, capture) = self.take_down(id, Times::Nanoseconds, watch)?;
        let is_empty = capture.entries() == 0;
        let tar = if is_empty { None } else { Some(capture.finish()?) };
        Ok(Captured { layers, tar })
    }

    pub(crate) fn take_down(
        &self,
        id: &ContainerId,
        times: Times,
        watch: &dyn Watch,
    ) -> Result<(Vec<DiffId>, Capture)> {
        let (footing, dirs) = self.footing(id)?;
        let container = self.container_dir(id);
        let mut capture = Capture::new(&container, times);
        self.driver().hand_over(&dirs, &container, &mut capture, watch)?;
        Ok((footing.layers, capture))
    }

    /// Makes what was captured a layer; none if nothing was changed.
    pub fn seal(&self, captured: Captured, watch: &dyn Watch) -> Result<Option<LayerAdded>> {
        let Captured { layers, tar } = captured;
        tar.map(|tar| self.seal_tar(&layers, tar, watch)).transpose()
    }

    pub(crate) fn seal_tar(
        &self,
        layers: &[DiffId],
        mut tar: pipeline::Captured,
        watch: &dyn Watch,
    ) -> Result<LayerAdded> {
        let shares = tar.shares();
        self.import(layers, None, Source { tar: &mut tar, shares }, watch)
    }

    /// Puts a container that does not run on `layers`, without any change of its own. What it had is gone. May be
    /// repeated when it was interrupted anywhere; until then its files are [unsettled](Error::Unsettled).
    pub fn reset(&self, id: &ContainerId, layers: &[DiffId], options: Prepare) -> Result<()> {
        let dirs = self.dirs(layers)?;
        let container = self.container_dir(id);
        let new = container.join(NEW);
        durable::remove(&new)?;
        durable::create_dirs(&new, 0o710)?;
        self.furnish(&new, &dirs, options).inspect_err(|_| {
            // The disk may be full, and this may be much.
            if let Err(error) = durable::remove(&new) {
                tracing::warn!(%error, "half of a container stays until it is put back again");
            }
        })?;
        let volatile = options.volatile;
        failpoint!("snapshot.reset.prepared");
        let durability = if volatile { Durability::Ephemeral } else { Durability::Durable };
        let stand = |unsettled: bool| -> Result<()> {
            let footing = Footing { layers: layers.to_vec(), volatile, unsettled };
            let text =
                serde_json::to_vec(&footing).map_err(|source| Error::Record { path: container.clone(), source })?;
            Ok(durable::write_file(&container.join(FOOTING), &text, 0o600, durability)?)
        };
        stand(true)?;
        failpoint!("snapshot.reset.unsettled");
        for part in self.driver().parts() {
            let (place, old) = (container.join(part), container.join(format!("{OLD}{part}")));
            durable::remove(&old)?;
            rename_if_there(&place, &old)?;
            failpoint!("snapshot.reset.taken-away");
            let part = new.join(part);
            // A container without a limit has not all that one with a limit has.
            if part.exists() {
                durable::rename(&part, &place)?;
            }
        }
        failpoint!("snapshot.reset.replaced");
        stand(false)?;
        failpoint!("snapshot.reset.recorded");
        for part in self.driver().parts() {
            durable::remove(&container.join(format!("{OLD}{part}")))?;
        }
        durable::remove(&new)?;
        self.driver().tidy()
    }
}

/// Where the new parts are made, in the container's directory.
const NEW: &str = ".new";
/// What the names of the old parts begin with.
const OLD: &str = ".old-";

fn rename_if_there(from: &Path, to: &Path) -> Result<()> {
    match rustix::fs::rename(from, to) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::at("rename", from)(io::Error::from(error))),
    }
}
