//! Finding snapshots.

use std::collections::HashMap;

use strata_store::records::SnapshotRecord;
use strata_types::{ContainerId, SnapshotId};

use crate::container::{ContainerError, Known};
use crate::{Engine, Result};

/// A snapshot, and who has to do with it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its record.
    pub record: SnapshotRecord,
    /// Its container's name.
    pub container_name: String,
    /// Whether its container stands on it: it was the last one made, or the one it was put back to.
    pub is_current: bool,
    /// The names of other containers that stand on it: its forks.
    pub forks: Vec<String>,
    /// The snapshots that were made on it.
    pub children: Vec<SnapshotId>,
}

impl Node {
    /// As a person names it: `CONTAINER:NAME`.
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.container_name, self.record.name)
    }
}

impl Engine {
    /// All snapshots as trees: each is followed by those that were made on it, siblings by age.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn snapshot_nodes(&self) -> Result<Vec<Node>> {
        let names: HashMap<ContainerId, String> =
            self.store().containers().list()?.into_iter().map(|record| (record.id, record.name)).collect();
        let standings = self.store().snapshots().standings()?;
        let records = self.store().snapshots().list()?;
        let mut children: HashMap<Option<SnapshotId>, Vec<SnapshotRecord>> = HashMap::new();
        for record in &records {
            // A parent that is gone is no parent.
            let parent = record.parent.clone().filter(|parent| records.iter().any(|other| other.id == *parent));
            children.entry(parent).or_default().push(record.clone());
        }
        let node = |record: SnapshotRecord| {
            let here: Vec<&ContainerId> =
                standings.iter().filter(|one| one.snapshot == record.id).map(|one| &one.container).collect();
            let others = here.iter().filter(|container| ***container != record.container);
            let mut forks: Vec<String> = others.filter_map(|container| names.get(*container).cloned()).collect();
            forks.sort();
            Node {
                container_name: names.get(&record.container).cloned().unwrap_or_default(),
                is_current: here.contains(&&record.container),
                forks,
                children: children
                    .get(&Some(record.id.clone()))
                    .into_iter()
                    .flatten()
                    .map(|one| one.id.clone())
                    .collect(),
                record,
            }
        };
        let mut sorted = Vec::new();
        let mut waiting: Vec<SnapshotRecord> = children.get(&None).cloned().unwrap_or_default();
        waiting.reverse();
        while let Some(record) = waiting.pop() {
            waiting.extend(children.get(&Some(record.id.clone())).into_iter().flatten().rev().cloned());
            sorted.push(node(record));
        }
        Ok(sorted)
    }

    /// The snapshot a person means: `CONTAINER:NAME`, or the first digits of its id.
    ///
    /// # Errors
    /// When there is none.
    pub fn snapshot_named(&self, text: &str) -> Result<SnapshotRecord> {
        let found = match text.rsplit_once(':') {
            Some((container, name)) => self.store().snapshots().named(self.container(container)?.id(), name)?,
            None => self.store().snapshots().find(text)?,
        };
        found.ok_or_else(|| ContainerError::NoSnapshot(text.to_owned()).into())
    }

    /// The snapshot a person means who has named the container already: one of its own by name, or any other.
    ///
    /// # Errors
    /// When there is none.
    pub fn snapshot_of(&self, known: &Known, text: &str) -> Result<SnapshotRecord> {
        match self.store().snapshots().named(known.id(), text)? {
            Some(found) => Ok(found),
            None => self.snapshot_named(text),
        }
    }
}
