//! Removing containers.

use strata_runtime::Status;
use strata_store::Scope;
use strata_store::records::Forgotten;
use strata_sys::durable::Durability;
use strata_sys::failpoint;
use strata_sys::lock::Lock;
use strata_sys::signal::Signal;
use strata_types::Silent;

use crate::container::{ContainerError, Known, MountFrom};
use crate::{Engine, Result, events};

/// How to remove a container.
#[derive(Clone, Copy, Debug)]
pub struct Remove {
    /// Kill it if it runs.
    pub force: bool,
    /// With the volumes that were made for it alone.
    pub volumes: bool,
}

impl Engine {
    /// Removes a container: its processes if forced, its files, its record. Whatever of it is gone already is no error, so
    /// that a removal that was interrupted is completed by the next one.
    ///
    /// # Errors
    /// When it runs and is not to be killed.
    pub fn remove_container(&self, known: &Known, how: Remove) -> Result<()> {
        let process = self.process(known.id());
        let refuse = |why: &str| {
            let sentence = format!("cannot remove container \"/{}\": {why}", known.record.name);
            Err(ContainerError::Running(sentence).into())
        };
        let lock = self.store().lock_container(known.id())?;
        match process.state()?.status {
            Status::Running if !how.force => {
                return refuse("container is running: stop the container before removing or force remove");
            }
            Status::Paused if !how.force => {
                return refuse("container is paused and must be unpaused first");
            }
            Status::Restarting if !how.force => {
                return refuse("container is restarting: stop the container before removing or force remove");
            }
            Status::Running | Status::Paused | Status::Restarting => {
                self.record_event(events::of(known, "kill").with("signal", "9"));
                process.stop(Signal::KILL, Some(std::time::Duration::ZERO))?;
            }
            Status::Created | Status::Exited | Status::Dead => {}
        }
        self.erase(known, lock, how.volumes || known.document.host.auto_remove)
    }

    /// Removes all that there is of a container that does not run and that this process has locked.
    pub(crate) fn erase(&self, known: &Known, lock: Lock, volumes: bool) -> Result<()> {
        self.process(known.id()).cleanup()?;
        failpoint!("engine.rm.before-files");
        self.remove_files(known.id())?;
        failpoint!("engine.rm.after-files");
        if known.durability() == Durability::Durable {
            self.snapshots()?.settle()?;
        }
        let forgotten = self.store().containers().remove(known.id(), known.durability())?;
        failpoint!("engine.rm.after-record");
        self.record_event(events::of(known, "destroy"));
        if volumes {
            self.remove_anonymous_volumes(known)?;
        }
        let path = lock.path().to_owned();
        lock.remove().map_err(strata_sys::durable::FileError::at("remove lock", &path))?;
        // What others left to be collected waits for somebody who has not just run one program.
        if forgotten == Forgotten::WithLayers || known.durability() == Durability::Durable {
            self.collect(Scope::Removed, &Silent)?;
        }
        Ok(())
    }

    /// Removes a `--rm` container whose client may be gone; it may be removed already, or have been started again. A step of
    /// a build is one, too.
    ///
    /// # Errors
    /// When its files cannot be removed.
    pub fn reap_container(&self, id: &str) -> Result<()> {
        let Some(record) = self.store().containers().find(id)? else { return self.reap_step(id).map(drop) };
        let known = Known::read(record)?;
        if !known.document.host.auto_remove || self.is_running(known.id())? {
            return Ok(());
        }
        self.remove_container(&known, Remove { force: false, volumes: true })
    }

    fn remove_anonymous_volumes(&self, known: &Known) -> Result<()> {
        for point in &known.document.mounts {
            let MountFrom::Volume { name, anonymous: true, .. } = &point.source else { continue };
            match self.remove_volume(name, true) {
                // Another container took it over with --volumes-from.
                Ok(()) | Err(crate::Error::Container(ContainerError::VolumeInUse { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
