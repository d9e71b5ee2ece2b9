//! From what a person types to a container.

use std::path::PathBuf;

use strata_runtime::Container;
use strata_store::Durability;
use strata_store::records::ContainerRecord;
use strata_types::ContainerId;

use crate::container::{ContainerError, Document};
use crate::{Engine, Result};

/// A container's record, read.
#[derive(Clone, Debug)]
pub struct Known {
    /// What the store keeps in columns.
    pub record: ContainerRecord,
    /// The rest.
    pub document: Document,
}

impl Known {
    /// Reads a record.
    pub(crate) fn read(record: ContainerRecord) -> Result<Self> {
        let document =
            Document::parse(&record.spec).map_err(|source| ContainerError::Record(record.id.clone(), source))?;
        Ok(Self { record, document })
    }

    /// Its id.
    pub const fn id(&self) -> &ContainerId {
        &self.record.id
    }

    /// How long its record has to live.
    pub(crate) const fn durability(&self) -> Durability {
        if self.document.host.auto_remove { Durability::Ephemeral } else { Durability::Durable }
    }
}

impl Engine {
    /// Finds the container a person means: by whole id, by name, by the first digits of its id, in this order.
    ///
    /// # Errors
    /// When there is none, or the digits are those of several.
    pub fn container(&self, name: &str) -> Result<Known> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        let found = self.store().containers().find(bare)?;
        let found = found.map(|record| self.unless_debris(record)).transpose()?.flatten();
        Known::read(found.ok_or_else(|| ContainerError::NotFound(name.to_owned()))?)
    }

    /// The container's process, seen from outside.
    pub fn process(&self, id: &ContainerId) -> Container {
        Container::at(id.clone(), &self.container_dir(id), &self.settings().run_dir)
    }

    /// Where a container's files are, and where those are that go with its run.
    pub(super) fn places_of_files(&self, id: &ContainerId) -> (PathBuf, PathBuf) {
        (self.container_dir(id), self.process(id).run_files())
    }

    /// Where a container's files are.
    pub(crate) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.settings().root.join("containers").join(id.as_str())
    }
}
