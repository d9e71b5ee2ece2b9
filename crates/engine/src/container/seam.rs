//! What operations on images ask of containers.

use strata_store::records::ContainerRecord;
use strata_store::{Lease, records::LayerRecord};
use strata_types::config::RunConfig;
use strata_types::{ContainerId, Watch};

use crate::{Engine, Error, Result};

impl Engine {
    pub(crate) fn container(&self, _name: &str) -> Result<ContainerRecord> {
        Err(Error::Cancelled)
    }
    pub(crate) fn is_running(&self, _id: &ContainerId) -> Result<bool> {
        Ok(false)
    }
    pub(crate) fn pause_for_commit(&self, _container: &ContainerRecord) -> Result<bool> {
        Ok(false)
    }
    pub(crate) fn unpause_after_commit(&self, _container: &ContainerRecord) -> Result<()> {
        Ok(())
    }
    pub(crate) fn run_config(&self, _container: &ContainerRecord) -> Result<RunConfig> {
        Err(Error::Cancelled)
    }
    pub(crate) fn seal_changes(
        &self,
        _container: &ContainerRecord,
        _lease: &Lease<'_>,
        _watch: &dyn Watch,
    ) -> Result<Option<LayerRecord>> {
        Err(Error::Cancelled)
    }
}
