//! Ending the container in order when the machine goes down: the shim is told so by `stop --boot`, or by SIGTERM, which is what
//! processes get that nobody has ended.
//!
//! It is what `stop` does, but nobody wanted it: after the reboot the container's policy decides as if the power had failed.

use std::time::{Duration, Instant};

use strata_sys::signal::{self, Signal, SignalFd};

use super::Shim;
use super::life::Phase;
use crate::Error;

/// How far an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It was asked, and will be killed then.
    Asked { kill_at: Option<Instant> },
    /// It was killed.
    Killed,
}

/// What the shim hears of its own end, and how far its container's is.
pub(super) struct Ending {
    pub(super) signals: SignalFd,
    progress: Option<Progress>,
}

impl Ending {
    /// From here on the signals that end a process do not end this one.
    pub(super) fn expect() -> Result<Self, Error> {
        let signals = SignalFd::block(&[Signal::TERM, Signal::INT, Signal::HUP]);
        Ok(Self { signals: signals.map_err(Error::step("hear of signals"))?, progress: None })
    }

    /// When the container is to be killed.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.progress {
            Some(Progress::Asked { kill_at }) => kill_at,
            _ => None,
        }
    }

    /// Whether the container was asked to end.
    pub(super) fn has_begun(&self) -> bool {
        self.progress.is_some()
    }
}

impl Shim {
    /// Asks the container to end. It is not started again by this shim.
    pub(super) fn end_in_order(&mut self) {
        if self.ending.has_begun() {
            return;
        }
        self.restarts.cancelled = true;
        let patience = self.end.patience_ms.map(Duration::from_millis);
        let kill_at = patience.and_then(|patience| Instant::now().checked_add(patience));
        self.ending.progress = Some(Progress::Asked { kill_at });
        if self.phase != Phase::Running {
            return;
        }
        self.tell("kill", &[("signal", &self.end.signal.number().to_string())]);
        self.signal_first(self.end.signal);
        // One that is paused hears it when it goes on.
        if self.cgroup.is_frozen()
            && let Err(error) = self.cgroup.freeze(false)
        {
            tracing::debug!(%error, "the processes stay frozen");
        }
    }

    /// Kills the container if its time is over.
    pub(super) fn end_by_force(&mut self) {
        if self.ending.due().is_some_and(|at| at <= Instant::now()) {
            self.ending.progress = Some(Progress::Killed);
            self.tell("kill", &[("signal", &Signal::KILL.number().to_string())]);
            self.signal_first(Signal::KILL);
        }
    }

    fn signal_first(&self, signal: Signal) {
        let first = self.programs.iter().find(|program| program.number == self.first && program.exit_code.is_none());
        if let Some(first) = first
            && let Err(errno) = signal::send(std::os::fd::AsFd::as_fd(&first.pidfd), signal)
        {
            tracing::debug!(%errno, "a signal came too late");
        }
    }
}
