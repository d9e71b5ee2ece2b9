//! Removing all containers that do not run.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::container::Remove;
use crate::events::Kind;
use crate::{Engine, Result};

/// Which containers to leave alone.
pub struct PruneFilter<'a> {
    /// Those made later.
    pub until: Option<Timestamp>,
    /// Those whose labels do not fit.
    pub labels: &'a dyn Fn(&BTreeMap<String, String>) -> bool,
}

impl std::fmt::Debug for PruneFilter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PruneFilter").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The containers' ids.
    pub ids: Vec<String>,
    /// What their files took.
    pub reclaimed_bytes: u64,
}

impl Engine {
    /// Removes every container that does not run and that the filter does not spare. Its volumes stay.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn prune_containers(&self, filter: &PruneFilter<'_>) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for listed in self.containers()? {
            let record = &listed.known.record;
            let spared = filter.until.is_some_and(|until| record.created > until)
                || !(filter.labels)(&listed.known.document.config.run.labels);
            if spared || listed.state.status.is_up() {
                continue;
            }
            let bytes = self.snapshots()?.usage(&record.id).map_or(0, |usage| usage.content_bytes);
            let bytes = bytes + self.snapshot_bytes(&record.id)?;
            self.remove_container(&listed.known, Remove { force: false, volumes: false })?;
            pruned.ids.push(record.id.to_string());
            pruned.reclaimed_bytes += bytes;
        }
        self.record_prune(Kind::Container, pruned.reclaimed_bytes);
        Ok(pruned)
    }
}
