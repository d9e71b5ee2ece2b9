//! Starting containers, and being attached to them.

use strata_runtime::{Attach, Condition, Error as RuntimeError, Started, State, Status};

use crate::container::{ContainerError, Known};
use crate::{Engine, Result};

impl Engine {
    /// Starts a container, with the caller connected before its first byte of output if `attach` is given. One that runs
    /// already is left alone, which gives nothing.
    ///
    /// # Errors
    /// When it is paused, or its program cannot be executed.
    pub fn start_container(&self, known: &Known, attach: Option<Attach<'_>>) -> Result<Option<Started>> {
        let _changing = self.store().lock_container(known.id())?;
        self.start_locked(known, attach)
    }

    /// [`Engine::start_container`] for who has the container's lock.
    pub(crate) fn start_locked(&self, known: &Known, attach: Option<Attach<'_>>) -> Result<Option<Started>> {
        let process = self.process(known.id());
        match process.state()?.status {
            Status::Running | Status::Restarting => return Ok(None),
            Status::Paused => {
                let sentence = "cannot start a paused container, try unpause instead";
                return Err(ContainerError::Running(sentence.to_owned()).into());
            }
            Status::Created | Status::Exited | Status::Dead => {}
        }
        // What was made ahead for it goes with it, should it not come to that.
        let ahead = self.take_ahead();
        let spec = match self.spec(known) {
            // Somebody died while it was put back to a snapshot.
            Err(crate::Error::Snapshot(strata_snapshot::Error::Unsettled(_))) => {
                self.settle(known)?;
                self.spec(known)?
            }
            spec => spec?,
        };
        match process.start_by(ahead, &spec, attach) {
            Ok(started) => Ok(Some(started)),
            Err(RuntimeError::AlreadyRunning(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a container is doing.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn container_state(&self, known: &Known) -> Result<State> {
        Ok(self.process(known.id()).state()?)
    }

    /// Waits for a container to end, or more; gives its exit code.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn wait_container(&self, known: &Known, condition: Condition) -> Result<i32> {
        Ok(self.process(known.id()).wait_for(condition)?.exit_code)
    }
}
