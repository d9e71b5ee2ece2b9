//! A tiny process 1: starts the program, passes signals on to it, and reaps whatever is orphaned.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use strata_sys::process;
use strata_sys::signal::{self, Signal, SignalFd};

use super::Channel;
use crate::Error;

/// Runs until the program that `execute` becomes has ended; its exit code. The conversation with the shim is left to the
/// program's process.
pub(super) fn run(channel: &Channel, execute: impl FnOnce() -> Error) -> Result<u8, Error> {
    let all: Vec<Signal> = (1..=64).filter_map(Signal::from_number).filter(|signal| *signal != Signal::KILL).collect();
    let signals = SignalFd::block(&all).map_err(Error::step("listen to signals"))?;
    let child = process::fork(|| {
        signal::reset();
        let error = execute();
        channel.fail(&error);
        error.exit_code()
    })
    .map_err(Error::step("start the program behind init"))?;
    // Our copy of the conversation ends here: its end is what tells the shim that the program is executed.
    channel.close();
    // Nor may init keep what the shim has open.
    process::close_all_but(&[signals.as_fd()]).map_err(Error::step("close descriptors"))?;
    loop {
        wait(&signals)?;
        while let Some(signal) = signals.next().map_err(Error::step("read a signal"))? {
            if signal != Signal::CHLD
                && let Err(errno) = signal::send_to(child, signal)
            {
                tracing::debug!(%errno, "a signal came too late");
            }
        }
        loop {
            match process::reap_any() {
                Ok(Some((pid, ended))) if pid == child => return Ok(ended.code() as u8),
                Ok(Some(_)) => {}
                Ok(None) | Err(Errno::CHILD) => break,
                Err(errno) => return Err(Error::step("reap a process")(errno)),
            }
        }
    }
}

fn wait(signals: &SignalFd) -> Result<(), Error> {
    match rustix::event::poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Error::step("wait for signals")(errno)),
    }
}
