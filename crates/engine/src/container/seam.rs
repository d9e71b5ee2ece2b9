//! What operations on images ask of containers.

use strata_snapshot::Snapshots;
use strata_store::Lease;
use strata_store::records::{ContainerRecord, LayerRecord};
use strata_types::config::RunConfig;
use strata_types::{ContainerId, Digest, Watch};

use crate::container::Known;
use crate::{Engine, Result};

/// A tar without entries: a layer that changes nothing, which Docker leaves out of images.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

impl Engine {
    /// Whether its processes live.
    pub(crate) fn is_running(&self, id: &ContainerId) -> Result<bool> {
        Ok(self.process(id).state()?.status.is_up())
    }

    /// Makes its processes stand still; false if they did so already, or there are none.
    pub(crate) fn pause_for_commit(&self, container: &ContainerRecord) -> Result<bool> {
        let process = self.process(&container.id);
        if process.state()?.status != strata_runtime::Status::Running {
            return Ok(false);
        }
        match process.pause() {
            Ok(()) => Ok(true),
            // It ended in the meantime, which is as good.
            Err(strata_runtime::Error::NotRunning(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes [`Engine::pause_for_commit`] back.
    pub(crate) fn unpause_after_commit(&self, container: &ContainerRecord) -> Result<()> {
        match self.process(&container.id).unpause() {
            Ok(()) | Err(strata_runtime::Error::NotRunning(_) | strata_runtime::Error::NotPaused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Its configuration, as an image made of it has it.
    pub(crate) fn run_config(&self, container: &ContainerRecord) -> Result<RunConfig> {
        Ok(Known::read(container.clone())?.document.config.run)
    }

    /// Makes what it changed a layer; none if it changed nothing.
    pub(crate) fn seal_changes(
        &self,
        container: &ContainerRecord,
        lease: &Lease<'_>,
        watch: &dyn Watch,
    ) -> Result<Option<LayerRecord>> {
        let snapshots: &Snapshots = self.snapshots()?;
        let added = snapshots.commit(&container.id, watch)?;
        if added.diff_id.digest() == &Digest::sha256(&EMPTY_TAR) {
            return Ok(None);
        }
        self.keep_layer(lease, &container.layers, added).map(Some)
    }
}
