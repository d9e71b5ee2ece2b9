//! Ending, freezing and restarting containers.

use std::time::Duration;

use strata_runtime::{Error as RuntimeError, Started, Status};
use strata_sys::signal::Signal;

use crate::container::{ContainerError, Known, check};
use crate::{Engine, Result, events};

/// Docker's patience.
pub(super) const PATIENCE_S: i64 = 10;

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
        let seconds = stop.timeout_s.or(run.stop_timeout).unwrap_or(PATIENCE_S);
        let timeout = u64::try_from(seconds).ok().map(Duration::from_secs);
        let process = self.process(known.id());
        if !process.state()?.status.is_up() {
            return Ok(());
        }
        let number = signal.number().to_string();
        self.record_event(events::of(known, "kill").with("signal", &number));
        process.stop(signal, timeout)?;
        self.record_event(events::of(known, "stop"));
        Ok(())
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// When either fails.
    pub fn restart_container(&self, known: &Known, stop: Stop) -> Result<Option<Started>> {
        // Held all the while, so that nobody removes a `--rm` container between.
        let _changing = self.store().lock_container(known.id())?;
        self.stop_container(known, stop)?;
        let started = self.start_locked(known, None)?;
        self.record_event(events::of(known, "restart"));
        Ok(started)
    }

    /// Sends a container's first process a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_container(&self, known: &Known, signal: Signal) -> Result<()> {
        let process = self.process(known.id());
        let status = process.state()?.status;
        if !status.is_up() {
            let sentence = format!("container {} is not running", known.id());
            return Err(ContainerError::NotRunning(sentence).into());
        }
        // As Docker: a signal that is not the one that stops it lets its policy go on, if it has one of its own.
        let stop_signal = &known.document.config.run.stop_signal;
        let ends = stop_signal.is_empty() || signal == Signal::KILL || check::stop_signal(stop_signal)? == signal;
        let is_silent = match process.hold(ends) {
            // Its processes hear the signal without it.
            Err(RuntimeError::ShimSilent { .. }) => true,
            held => held.map(|()| false)?,
        };
        self.record_event(events::of(known, "kill").with("signal", &signal.number().to_string()));
        if status == Status::Restarting {
            return Ok(());
        }
        process.kill(signal)?;
        // Docker's `kill` returns when the container has ended.
        if signal == Signal::KILL {
            process.wait()?;
            if is_silent {
                process.cleanup()?;
            }
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
            Status::Running => {
                process.pause()?;
                self.record_event(events::of(known, "pause"));
                Ok(())
            }
            Status::Restarting => Err(ContainerError::restarting(known.id()).into()),
            Status::Paused => {
                Err(ContainerError::Running(format!("Container {} is already paused", known.id())).into())
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
            return Err(ContainerError::NotRunning(format!("Container {} is not paused", known.id())).into());
        }
        process.unpause()?;
        self.record_event(events::of(known, "unpause"));
        Ok(())
    }
}
