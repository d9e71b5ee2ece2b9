//! A command that stays in the foreground: signals and the terminal's size go to the process, its end ends the command.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use strata_sys::pty;
use strata_sys::signal::{Signal, SignalFd};

use crate::spec::TerminalSize;
use crate::{Error, Foreground, Outcome, Session};

/// Signals that are not passed on: they concern this process, or cannot be caught.
const OWN: [Signal; 5] = [Signal::KILL, Signal::CHLD, Signal::PIPE, Signal::URG, Signal::STOP];
/// Signals by which the processor reports a defect of this program.
const FAULTS: [u8; 6] = [4, 5, 7, 8, 11, 31];

/// Stays until the session ends.
pub(crate) fn stay(session: &Session, how: &Foreground<'_>) -> Result<Outcome, Error> {
    let signals = SignalFd::block(&passed_on(how)).map_err(Error::step("listen to signals"))?;
    if let Some(terminal) = how.terminal {
        follow_size(session, terminal)?;
    }
    loop {
        let mut fds = [PollFd::new(session, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::step("wait for the process")(errno)),
        }
        let [said, signalled] = fds.map(|fd| !fd.revents().is_empty());
        while signalled && let Some(signal) = signals.next().map_err(Error::step("read a signal"))? {
            match (signal, how.terminal) {
                (Signal::WINCH, Some(terminal)) => follow_size(session, terminal)?,
                _ => forward(session, signal),
            }
        }
        if said && let Some(outcome) = session.outcome()? {
            if matches!(outcome, Outcome::Exited(_)) {
                // Open until this process ends: so the shim knows that somebody is there to clean up.
                std::mem::forget(session.as_fd().try_clone_to_owned().map_err(Error::io("keep the connection"))?);
            }
            return Ok(outcome);
        }
    }
}

fn passed_on(how: &Foreground<'_>) -> Vec<Signal> {
    let all = (1..=64).filter_map(Signal::from_number);
    let wanted = |signal: &Signal| match *signal {
        Signal::WINCH => how.terminal.is_some() || how.proxy_signals,
        signal => how.proxy_signals && !OWN.contains(&signal) && !FAULTS.contains(&signal.number()),
    };
    // The C library keeps 32 and 33 to itself.
    all.filter(|signal| !matches!(signal.number(), 32 | 33)).filter(wanted).collect()
}

fn forward(session: &Session, signal: Signal) {
    // A shim that is gone is noticed by its silence.
    if let Err(error) = session.signal(signal) {
        tracing::debug!(%error, "a signal came too late");
    }
}

fn follow_size(session: &Session, terminal: BorrowedFd<'_>) -> Result<(), Error> {
    let (rows, columns) = pty::size(terminal.as_fd()).map_err(Error::step("read the terminal's size"))?;
    match session.resize(TerminalSize { rows, columns }) {
        Ok(()) | Err(Error::ShimGone) => Ok(()),
        Err(error) => Err(error),
    }
}
