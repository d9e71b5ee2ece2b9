//! Being attached to a process in a container. The shim reads and writes the client's own descriptors; this side only
//! forwards signals and sizes, and waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use strata_sys::signal::Signal;

use crate::Error;
use crate::spec::TerminalSize;
use crate::wire::{self, Answer, Request};

/// Which of a process's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a client wants to be attached to. Descriptors are handed to the shim, which never changes their flags.
#[derive(Debug, Default)]
pub struct Attach<'fd> {
    /// Read and passed to the process.
    pub stdin: Option<BorrowedFd<'fd>>,
    /// Gets what the process writes to standard output or its terminal.
    pub stdout: Option<BorrowedFd<'fd>>,
    /// Gets what the process writes to standard error.
    pub stderr: Option<BorrowedFd<'fd>>,
    /// Typed in a row, these bytes leave; empty for never. Docker's are 16, 17 (`ctrl-p,ctrl-q`).
    pub detach_keys: Vec<u8>,
    /// The terminal's size, if there is one.
    pub size: Option<TerminalSize>,
}

/// How being attached ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process ended with this code (128 and the signal's number if a signal ended it).
    Exited(i32),
    /// The detach keys were typed; the process goes on.
    Detached,
    /// Nobody reads this side's standard output any more; the process goes on.
    OutputClosed,
    /// The shim is gone: nobody knows how the process ended.
    Lost,
}

/// A client's connection to a process, until it ends or the client leaves. Dropping it leaves.
#[derive(Debug)]
pub struct Session {
    socket: OwnedFd,
}

/// How a command in the foreground behaves.
#[derive(Debug)]
pub struct Foreground<'fd> {
    /// Signals that this process gets go to the container's.
    pub proxy_signals: bool,
    /// The person's terminal, whose size the container's terminal follows. It passes on every key: it is in raw mode since
    /// before the process could ask for any.
    pub terminal: Option<BorrowedFd<'fd>>,
}

impl Session {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Tells the process's terminal its size.
    pub fn resize(&self, size: TerminalSize) -> Result<(), Error> {
        self.ask(&Request::Resize(size))
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.ask(&Request::Signal(signal))
    }

    fn ask(&self, request: &Request) -> Result<(), Error> {
        wire::send(self.socket.as_fd(), request, &[], true).map_err(|_| Error::ShimGone)
    }

    /// Waits without forwarding anything.
    pub fn wait(self) -> Result<Outcome, Error> {
        loop {
            if let Some(outcome) = self.outcome()? {
                return Ok(outcome);
            }
        }
    }

    /// Hears one answer; how being attached ended, if it did.
    pub(crate) fn outcome(&self) -> Result<Option<Outcome>, Error> {
        Ok(match wire::receive(&self.socket)? {
            Some((Answer::Exited(code), _)) => Some(Outcome::Exited(code)),
            Some((Answer::Detached, _)) => Some(Outcome::Detached),
            Some((Answer::OutputClosed, _)) => Some(Outcome::OutputClosed),
            Some(_) => None,
            None => Some(Outcome::Lost),
        })
    }

    /// Stays in the foreground until the process ends or the person leaves.
    pub fn foreground(self, how: &Foreground<'_>) -> Result<Outcome, Error> {
        crate::foreground::stay(&self, how)
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
