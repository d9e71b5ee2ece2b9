//! Being attached to a process in a container. The shim reads and writes the client's own descriptors; this side only
//! forwards signals and sizes, and waits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use strata_sys::signal::Signal;

use crate::Error;
use crate::spec::TerminalSize;

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
    /// The terminal to put into raw mode meanwhile, and whose size the container's terminal follows.
    pub terminal: Option<BorrowedFd<'fd>>,
}

impl Session {
    /// Tells the process's terminal its size.
    pub fn resize(&self, _size: TerminalSize) -> Result<(), Error> {
        Err(Error::ShimGone)
    }

    /// Sends the process a signal.
    pub fn signal(&self, _signal: Signal) -> Result<(), Error> {
        Err(Error::ShimGone)
    }

    /// Waits without forwarding anything.
    pub fn wait(self) -> Result<Outcome, Error> {
        Err(Error::ShimGone)
    }

    /// Stays in the foreground until the process ends or the person leaves.
    pub fn foreground(self, _how: &Foreground<'_>) -> Result<Outcome, Error> {
        Err(Error::ShimGone)
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
