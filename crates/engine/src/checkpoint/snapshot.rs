//! Taking a snapshot of a container's files.

use std::time::{Duration, Instant};

use strata_runtime::Status;
use strata_store::records::{CreatedSnapshot, SnapshotRecord};
use strata_sys::failpoint;
use strata_types::{SnapshotId, Watch};

use crate::container::{ContainerError, Known, check};
use crate::{Engine, Result, events};

/// How to take a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotWish {
    /// Its name; the next free one of `s1`, `s2`, … without.
    pub name: Option<String>,
    /// A remark.
    pub comment: String,
    /// Whether the container's processes stand still meanwhile.
    pub pause: bool,
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Snapshotted {
    /// Its record.
    pub record: SnapshotRecord,
    /// How long the processes stood still; none if there were none, or they did not.
    pub frozen: Option<Duration>,
    /// Sentences for the person.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Seals what a container changed as a layer and records that as a snapshot. A running container stands still only
    /// as long as its changes are taken down; hashing, indexing and syncing come after.
    ///
    /// # Errors
    /// When the name is taken or none, or the changes cannot be read.
    pub fn snapshot(&self, known: &Known, wish: &SnapshotWish, watch: &dyn Watch) -> Result<Snapshotted> {
        if let Some(name) = &wish.name {
            check::snapshot_name(name)?;
            self.refuse_taken(known, name)?;
        }
        let _changing = self.store().lock_container(known.id())?;
        // It may have been put back while we waited.
        let known = self.container(known.id().as_str())?;
        self.finish_put_back(&known)?;
        let lease = self.store().lease()?;
        lease.protect_layers(&known.record.layers)?;
        let mut warnings = Vec::new();
        let (captured, frozen) = self.capture(&known, wish.pause, &mut warnings, watch)?;
        failpoint!("engine.snapshot.captured");
        let layer = match self.snapshots()?.seal(captured, watch)? {
            Some(added) => Some(self.keep_layer(&lease, &known.record.layers, added)?),
            None => None,
        };
        failpoint!("engine.snapshot.sealed");
        let mut layers = known.record.layers.clone();
        layers.extend(layer.as_ref().map(|layer| layer.diff_id.clone()));
        let mut record = SnapshotRecord {
            id: SnapshotId::from_random(strata_sys::random::bytes()),
            container: known.id().clone(),
            name: String::new(),
            parent: self.store().snapshots().under(known.id())?.map(|standing| standing.snapshot),
            image: known.record.image.clone(),
            image_name: known.record.image_name.clone(),
            layers,
            size_bytes: layer.as_ref().map_or(0, |layer| layer.size_bytes),
            comment: wish.comment.clone(),
            created: self.now(),
            spec: known.record.spec.clone(),
        };
        for number in 1_u64.. {
            record.name = wish.name.clone().unwrap_or_else(|| format!("s{number}"));
            match self.store().snapshots().insert(&record, layer.as_ref())? {
                CreatedSnapshot::Done => break,
                CreatedSnapshot::NameTaken if wish.name.is_none() => {}
                CreatedSnapshot::NameTaken => return Err(taken(&known, &record.name)),
                CreatedSnapshot::ContainerGone => {
                    return Err(ContainerError::NotFound(known.record.name.clone()).into());
                }
            }
        }
        failpoint!("engine.snapshot.recorded");
        lease.release()?;
        self.record_event(events::of(&known, "snapshot").with("snapshot", &record.name));
        Ok(Snapshotted { record, frozen, warnings })
    }

    /// Takes down the changes, with the processes frozen. They go on even if this process is killed.
    fn capture(
        &self,
        known: &Known,
        pause: bool,
        warnings: &mut Vec<String>,
        watch: &dyn Watch,
    ) -> Result<(strata_snapshot::Captured, Option<Duration>)> {
        let process = self.process(known.id());
        let begun = Instant::now();
        let held = if pause { process.hold_still()? } else { None };
        if pause && held.is_none() && process.state()?.status == Status::Running {
            let name = &known.record.name;
            warnings.push(format!("cannot freeze {name}: files that were written meanwhile may be torn"));
        }
        failpoint!("engine.snapshot.frozen");
        let captured = self.snapshots()?.capture(known.id(), watch);
        let frozen = held.map(|held| {
            drop(held);
            begun.elapsed()
        });
        if let Some(frozen) = frozen {
            tracing::info!(container = %known.record.name, "stood still for {} µs", frozen.as_micros());
        }
        Ok((captured?, frozen))
    }

    fn refuse_taken(&self, known: &Known, name: &str) -> Result<()> {
        match self.store().snapshots().named(known.id(), name)? {
            Some(_) => Err(taken(known, name)),
            None => Ok(()),
        }
    }
}

fn taken(known: &Known, name: &str) -> crate::Error {
    ContainerError::SnapshotTaken { container: known.record.name.clone(), name: name.to_owned() }.into()
}
