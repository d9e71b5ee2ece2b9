//! Removing snapshots.

use strata_store::Scope;
use strata_store::records::SnapshotRecord;
use strata_sys::failpoint;
use strata_types::Silent;

use crate::{Engine, Result};

impl Engine {
    /// Removes a snapshot. Those that were made on it stay, as children of its parent; its layer stays as long as a
    /// container, an image or another snapshot needs it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove_snapshot(&self, snapshot: &SnapshotRecord) -> Result<()> {
        self.store().snapshots().remove(&snapshot.id)?;
        failpoint!("engine.snapshot-rm.forgotten");
        self.collect(Scope::Removed, &Silent)?;
        Ok(())
    }

    /// How many bytes of layers removing a container's snapshots would give back.
    pub(crate) fn snapshot_bytes(&self, container: &strata_types::ContainerId) -> Result<u64> {
        let snapshots = self.store().snapshots().list()?;
        Ok(snapshots.iter().filter(|one| one.container == *container).map(|one| one.size_bytes).sum())
    }
}
