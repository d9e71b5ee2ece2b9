//! What operations on images ask of containers.

use strata_layer::Time;
use strata_snapshot::Snapshots;
use strata_store::Lease;
use strata_store::records::{ContainerRecord, LayerRecord};
use strata_types::config::RunConfig;
use strata_types::{ContainerId, Digest, Watch};

use crate::container::Known;
use crate::{Engine, Result};

/// A tar without entries: a layer that changes nothing, which Docker leaves out of images.
pub(crate) const EMPTY_TAR: [u8; 1024] = [0; 1024];

impl Engine {
    /// Whether its processes live.
    pub(crate) fn is_running(&self, id: &ContainerId) -> Result<bool> {
        Ok(self.process(id).state()?.status.is_up())
    }

    /// Its configuration, as an image made of it has it.
    pub(crate) fn run_config(&self, container: &ContainerRecord) -> Result<RunConfig> {
        Ok(Known::read(container.clone())?.document.config.run)
    }

    /// Makes what it changed a layer, with no time later than `newest`; none if it changed nothing.
    pub(crate) fn seal_changes(
        &self,
        container: &ContainerRecord,
        lease: &Lease<'_>,
        newest: Option<Time>,
        watch: &dyn Watch,
    ) -> Result<Option<LayerRecord>> {
        let snapshots: &Snapshots = self.snapshots()?;
        let added = snapshots.commit(&container.id, newest, watch)?;
        if added.diff_id.digest() == &Digest::sha256(&EMPTY_TAR) {
            return Ok(None);
        }
        self.keep_layer(lease, &container.layers, added).map(Some)
    }
}
