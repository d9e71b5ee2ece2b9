//! Moving a store from one storage driver to another.

use strata_runtime::Status;
use strata_snapshot::DriverName;
use strata_store::records::ContainerRecord;
use strata_types::{ContainerId, ErrorClass, Watch};

use crate::container::{ContainerError, Document, storage};
use crate::{Engine, Error, Result};

/// Why a store cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// They write.
    #[error("containers run that have to be stopped first: {}", .0.join(", "))]
    Running(Vec<String>),
}

impl MigrateError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Running(_) => ErrorClass::Conflict,
        }
    }
}

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The driver the store had.
    pub from: String,
    /// The driver it has.
    pub to: String,
    /// How many layers were made again.
    pub layers: usize,
}

impl Engine {
    /// Moves the store to another storage driver, with its images, containers and snapshots. If it was interrupted, doing it
    /// again goes on.
    ///
    /// # Errors
    /// When the driver does not work here, a container runs or cannot be moved, others use the store, or the disk is full. The
    /// store is with one of the drivers then.
    pub fn migrate(&self, driver: &str, watch: &dyn Watch) -> Result<Migrated> {
        let to: DriverName = driver.parse().map_err(Error::Snapshot)?;
        let snapshots = self.snapshots()?;
        let from = snapshots.driver_name();
        // From here on nobody else makes a container, or starts one.
        let mut migration = snapshots.migrate(to)?;
        let containers = self.container_records()?;
        if from != to {
            self.refuse_running(&containers)?;
        }
        let go_on = || if watch.cancelled() { Err(Error::Cancelled) } else { Ok(()) };
        if from != to {
            for image in self.store().images().list()? {
                go_on()?;
                migration.copy(&image.layers, watch)?;
            }
            for snapshot in self.store().snapshots().list()? {
                go_on()?;
                migration.copy(&snapshot.layers, watch)?;
            }
            for container in &containers {
                go_on()?;
                let document = Document::parse(&container.spec)
                    .map_err(|source| ContainerError::Record(container.id.clone(), source))?;
                migration.container(&container.id, storage::prepare(&document.host)?.size_bytes, watch)?;
            }
        }
        let ids: Vec<ContainerId> = containers.into_iter().map(|container| container.id).collect();
        let layers = migration.finish(&ids)?;
        Ok(Migrated { from: from.to_string(), to: to.to_string(), layers })
    }

    fn refuse_running(&self, containers: &[ContainerRecord]) -> Result<()> {
        let mut running = Vec::new();
        for container in containers {
            let status = self.process(&container.id).state()?.status;
            if matches!(status, Status::Running | Status::Paused | Status::Restarting) {
                running.push(container.name.clone());
            }
        }
        if running.is_empty() { Ok(()) } else { Err(MigrateError::Running(running).into()) }
    }
}
