//! Going back to a snapshot.
//!
//! The record changes first, in one transaction: from then on the container stands on the snapshot's layers, and whoever
//! starts it next finishes what is missing ([`Engine::settle`]). So a kill leaves it as it was or as it was to be.

use std::time::Duration;

use strata_runtime::Started;
use strata_store::Scope;
use strata_store::records::SnapshotRecord;
use strata_sys::failpoint;
use strata_sys::signal::Signal;
use strata_types::Silent;

use crate::container::{ContainerError, Known, check, storage};
use crate::{Engine, Result, events};

/// How to go back.
#[derive(Clone, Copy, Debug)]
pub struct Rollback {
    /// How long its processes have to end before they are killed; not at all without.
    pub grace: Option<Duration>,
    /// Whether it is started though it did not run.
    pub start: bool,
}

/// What became of a container that went back.
#[derive(Debug)]
pub struct RolledBack {
    /// Its new process, if it was started.
    pub started: Option<Started>,
}

impl Engine {
    /// Puts a container back to what its files were in a snapshot. What it wrote since is gone, unless it is in another
    /// snapshot. It runs again if it ran before.
    ///
    /// # Errors
    /// When the snapshot is gone, or the container cannot be stopped or started.
    pub fn rollback(&self, known: &Known, snapshot: &SnapshotRecord, how: Rollback) -> Result<RolledBack> {
        let _changing = self.store().lock_container(known.id())?;
        let lease = self.store().lease()?;
        lease.protect_layers(&snapshot.layers)?;
        let gone = || ContainerError::NoSnapshot(snapshot.name.clone());
        if !self.has_layer(&snapshot.layers)? {
            return Err(gone().into());
        }
        let process = self.process(known.id());
        let ran = process.state()?.status.is_alive();
        if ran {
            match how.grace {
                Some(grace) => {
                    let signal = check::stop_signal(&known.document.config.run.stop_signal)?;
                    process.stop(signal, Some(grace))?;
                }
                // What it would save now is thrown away with the rest.
                None => drop(process.stop(Signal::KILL, Some(Duration::ZERO))?),
            }
        }
        process.cleanup()?;
        failpoint!("engine.rollback.stopped");
        if !self.store().snapshots().put_back(known.id(), snapshot)? {
            return Err(gone().into());
        }
        failpoint!("engine.rollback.recorded");
        self.snapshots()?.reset(known.id(), &snapshot.layers, storage::prepare(&known.document.host)?)?;
        failpoint!("engine.rollback.reset");
        self.record_event(events::of(known, "rollback").with("snapshot", &snapshot.name));
        let started =
            if ran || how.start { self.start_locked(&self.container(known.id().as_str())?, None)? } else { None };
        lease.release()?;
        self.collect(Scope::Removed, &Silent)?;
        Ok(RolledBack { started })
    }

    /// Finishes putting a container back that somebody began and died over.
    pub(crate) fn settle(&self, known: &Known) -> Result<()> {
        let prepare = storage::prepare(&known.document.host)?;
        Ok(self.snapshots()?.reset(known.id(), &known.record.layers, prepare)?)
    }

    /// [`Engine::settle`] where that is needed, for containers that are not about to be started.
    pub(crate) fn finish_put_back(&self, known: &Known) -> Result<()> {
        match self.snapshots()?.layers_of(known.id()) {
            Ok(layers) if layers == known.record.layers => Ok(()),
            Ok(_) | Err(strata_snapshot::Error::Unsettled(_)) => self.settle(known),
            Err(error) => Err(error.into()),
        }
    }
}
