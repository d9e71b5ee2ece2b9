//! Ending, freezing and restarting containers.

use std::time::Duration;

use strata_runtime::{Started, Status};
use strata_sys::signal::Signal;

use crate::container::{ContainerError, Known, check};
use crate::{Engine, Result};

/// Docker's patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to stop a container; what is open is the container's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stop {
    /// What asks it to end.
    pub signal: Option<Signal>,
    /// Seconds until it is killed; negative for never.
    pub timeout_s: Option<i64>,
}

impl Engine {
    /// Asks a container to end, and kills it if it does not. One that does not run is left alone.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn stop_container(&self, known: &Known, stop: Stop) -> Result<()> {
        let run = &known.document.config.run;
        let signal = match stop.signal {
            Some(signal) => signal,
            None => check::stop_signal(&run.stop_signal)?,
        };
        let timeout = match stop.timeout_s.or(run.stop_timeout) {
            None => Some(PATIENCE),
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        };
        self.process(known.id()).stop(signal, timeout)?;
        Ok(())
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// When either fails.
    pub fn restart_container(&self, known: &Known, stop: Stop) -> Result<Option<Started>> {
        self.stop_container(known, stop)?;
        self.start_container(known, None)
    }

    /// Sends a container's first process a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_container(&self, known: &Known, signal: Signal) -> Result<()> {
        let process = self.process(known.id());
        if !process.state()?.status.is_alive() {
            let sentence = format!("container {} is not running", known.id());
            return Err(ContainerError::NotRunning(sentence).into());
        }
        process.kill(signal)?;
        // Docker's `kill` returns when the container has ended.
        if signal == Signal::KILL {
            process.wait()?;
        }
        Ok(())
    }

    /// Freezes a container's processes.
    ///
    /// # Errors
    /// When it does not run or is frozen already.
    pub fn pause_container(&self, known: &Known) -> Result<()> {
        let process = self.process(known.id());
        match process.state()?.status {
            Status::Running => Ok(process.pause()?),
            Status::Paused => {
                Err(ContainerError::Running(format!("container {} is already paused", known.id())).into())
            }
            _ => Err(ContainerError::NotRunning(format!("container {} is not running", known.id())).into()),
        }
    }

    /// Lets a container's processes go on.
    ///
    /// # Errors
    /// When it is not frozen.
    pub fn unpause_container(&self, known: &Known) -> Result<()> {
        let process = self.process(known.id());
        if process.state()?.status != Status::Paused {
            return Err(ContainerError::NotRunning(format!("container {} is not paused", known.id())).into());
        }
        Ok(process.unpause()?)
    }
}
