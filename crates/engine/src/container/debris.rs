//! What is left of a container when somebody died while making or removing it: its record, without files. Of a step of a
//! build files without a record are left. Whoever comes across it takes it away.

use strata_store::records::ContainerRecord;
use strata_types::{ContainerId, ImageId};

use crate::container::Known;
use crate::{Engine, Result};

impl Engine {
    /// The record, if there is a container; what is only the rest of one is removed.
    pub(crate) fn unless_debris(&self, record: ContainerRecord) -> Result<Option<ContainerRecord>> {
        let snapshots = self.snapshots()?;
        if snapshots.has_container(&record.id) {
            return Ok(Some(record));
        }
        // Who makes or removes it at this moment has it locked, and is not dead.
        let Some(lock) = self.store().try_lock_container(&record.id)? else { return Ok(Some(record)) };
        let Some(record) = self.store().containers().get(&record.id)? else { return Ok(None) };
        if snapshots.has_container(&record.id) {
            return Ok(Some(record));
        }
        tracing::debug!(container = %record.id, "removing what is left of a container");
        let known = Known::read(record)?;
        self.erase(&known, lock, known.document.host.auto_remove)?;
        Ok(None)
    }

    /// Whether there is no such container any more.
    pub(crate) fn is_debris(&self, id: &ContainerId) -> Result<bool> {
        let record = self.store().containers().get(id)?;
        Ok(record.map(|record| self.unless_debris(record)).transpose()?.flatten().is_none())
    }

    /// All containers, the newest first.
    pub(crate) fn container_records(&self) -> Result<Vec<ContainerRecord>> {
        let listed = self.store().containers().list()?;
        self.reap_steps(&listed);
        let mut records = Vec::new();
        for record in listed {
            records.extend(self.unless_debris(record)?);
        }
        Ok(records)
    }

    /// The containers that were made from an image.
    pub(crate) fn users_of(&self, image: &ImageId) -> Result<Vec<ContainerId>> {
        let mut users = Vec::new();
        for id in self.store().containers().using(image)? {
            if !self.is_debris(&id)? {
                users.push(id);
            }
        }
        Ok(users)
    }
}
