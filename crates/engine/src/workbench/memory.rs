//! Steps that were done, so that they need not be done again.

use std::time::Duration;

use strata_store::Scope;
use strata_store::records::{BuildStepRecord, LayerRecord};
use strata_sys::failpoint;
use strata_types::{DiffId, Watch};

use super::Workbench;
use crate::{Engine, Result};

/// A step that was done before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The layers afterwards, the lowest first.
    pub layers: Vec<DiffId>,
    /// The size of what it added.
    pub size_bytes: u64,
    /// When it was done.
    pub created: jiff::Timestamp,
}

/// Which steps to forget.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheWish {
    /// Those not used for so long; all of them without.
    pub unused_for: Option<Duration>,
    /// Only until the rest is no larger than this.
    pub keep_bytes: Option<u64>,
}

/// What was forgotten.
#[derive(Clone, Debug, Default)]
pub struct CachePruned {
    /// The steps.
    pub steps: Vec<BuildStepRecord>,
    /// What they had added.
    pub freed_bytes: u64,
}

impl Workbench<'_> {
    /// The step with this key, if it was done and all its layers are here; they stay.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn recall(&self, key: &str) -> Result<Option<Memory>> {
        let Some(step) = self.engine.store().build_steps().get(key)? else { return Ok(None) };
        if !self.keep(&step.layers)? {
            return Ok(None);
        }
        Ok(Some(Memory { layers: step.layers, size_bytes: step.size_bytes, created: step.created }))
    }

    /// Remembers that a step was done just now.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn remember(&self, key: &str, description: &str, memory: &Memory) -> Result<()> {
        let store = self.engine.store();
        if let Some(diff_id) = memory.layers.last() {
            let (size_bytes, added) = (memory.size_bytes, memory.created);
            store.layers().put(&LayerRecord { diff_id: diff_id.clone(), size_bytes, added })?;
        }
        store.build_steps().put(&BuildStepRecord {
            key: key.to_owned(),
            layers: memory.layers.clone(),
            size_bytes: memory.size_bytes,
            description: description.to_owned(),
            created: memory.created,
            last_used: memory.created,
        })?;
        failpoint!("engine.step.remembered");
        Ok(())
    }

    /// Notes that steps were of use now.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn used(&self, keys: &[String]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        Ok(self.engine.store().build_steps().touch(keys, self.engine.now())?)
    }
}

impl Engine {
    /// What builds remember.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn build_cache(&self) -> Result<Vec<BuildStepRecord>> {
        Ok(self.store().build_steps().list()?)
    }

    /// Forgets what builds remember, and frees what only that kept.
    ///
    /// # Errors
    /// When the records cannot be written or files not be removed.
    pub fn prune_build_cache(&self, wish: CacheWish, watch: &dyn Watch) -> Result<CachePruned> {
        let now = self.now();
        let all = self.build_cache()?;
        let mut left: u64 = all.iter().map(|step| step.size_bytes).sum();
        let mut pruned = CachePruned::default();
        for step in all {
            let idle = now.duration_since(step.last_used).unsigned_abs();
            if wish.unused_for.is_some_and(|limit| idle < limit) || wish.keep_bytes.is_some_and(|keep| left <= keep) {
                continue;
            }
            left -= step.size_bytes;
            pruned.freed_bytes += step.size_bytes;
            pruned.steps.push(step);
        }
        let keys: Vec<String> = pruned.steps.iter().map(|step| step.key.clone()).collect();
        self.store().build_steps().remove(&keys)?;
        self.collect(Scope::Removed, watch)?;
        if wish.keep_bytes.is_none() {
            pruned.freed_bytes += self.prune_cache_dirs(wish.unused_for)?;
            // Which files of contexts did not change: it costs a reading of them all.
            if wish.unused_for.is_none() {
                strata_sys::durable::remove(&self.settings().root.join("build/stamps"))?;
            }
        }
        Ok(pruned)
    }
}
