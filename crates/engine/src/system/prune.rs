//! Giving back room: volumes nobody mounts, and what nobody needs.

use std::collections::BTreeMap;

use strata_store::Scope;
use strata_types::Watch;

use crate::{Engine, Result};

/// Which volumes were removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedVolumes {
    /// Their names.
    pub names: Vec<String>,
    /// What was in them.
    pub reclaimed_bytes: u64,
}

impl Engine {
    /// Removes the anonymous volumes (or `all`) that no container mounts and whose labels fit.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn prune_volumes(&self, all: bool, fits: &dyn Fn(&BTreeMap<String, String>) -> bool) -> Result<PrunedVolumes> {
        let mut pruned = PrunedVolumes::default();
        for sized in self.volume_sizes()? {
            let record = sized.volume.record;
            if !(all || record.anonymous) || sized.volume.containers > 0 || !fits(&record.labels) {
                continue;
            }
            self.remove_volume(&record.name, false)?;
            pruned.names.push(record.name);
            pruned.reclaimed_bytes += sized.size_bytes;
        }
        self.record_prune(crate::events::Kind::Volume, pruned.reclaimed_bytes);
        Ok(pruned)
    }

    /// Removes what no image, container or running operation needs, partial downloads included; says how many bytes of
    /// blobs and downloads that were.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn tidy(&self, watch: &dyn Watch) -> Result<u64> {
        let scope = Scope::All { ingests_older_than: std::time::Duration::ZERO };
        Ok(self.collect(scope, watch)?.freed_bytes)
    }
}
