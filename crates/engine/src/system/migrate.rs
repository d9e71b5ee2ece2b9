//! Moving a store from one storage driver to another.

use strata_snapshot::DriverName;
use strata_types::{ErrorClass, Watch};

use crate::{Engine, Result};

/// Why a store cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Their files are as the driver has them.
    #[error("{0} containers stand on layers of this store: commit them, or remove them, first")]
    Containers(usize),
}

impl MigrateError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Containers(_) => ErrorClass::Conflict,
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
    /// Moves the store to another storage driver. If it was interrupted, doing it again goes on.
    ///
    /// # Errors
    /// When the driver does not work here, there are containers, others use the store, or the disk is full. The store is with
    /// one of the drivers then.
    pub fn migrate(&self, driver: &str, watch: &dyn Watch) -> Result<Migrated> {
        let to: DriverName = driver.parse().map_err(crate::Error::Snapshot)?;
        let snapshots = self.snapshots()?;
        let from = snapshots.driver_name();
        let containers = self.container_records()?.len();
        if containers > 0 && from != to {
            return Err(MigrateError::Containers(containers).into());
        }
        let mut migration = snapshots.migrate(to)?;
        if from != to {
            for image in self.store().images().list()? {
                if watch.cancelled() {
                    return Err(crate::Error::Cancelled);
                }
                migration.copy(&image.layers, watch)?;
            }
        }
        let layers = migration.finish()?;
        Ok(Migrated { from: from.to_string(), to: to.to_string(), layers })
    }
}
