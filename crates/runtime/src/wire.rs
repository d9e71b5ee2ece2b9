//! What a shim and its clients say to each other: one JSON document in each packet.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use strata_sys::packet;
use strata_sys::signal::Signal;
use strata_types::ContainerId;

use crate::spec::{ExecSpec, Restart, TerminalSize};
use crate::{Attach, Error};

/// Where the shim listens, in its directory below the run directory.
pub(crate) const SOCKET: &str = "shim.sock";

/// What a client wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// Make one more shim, whose client is at the other end of the descriptor. Said to a new shim that has no container yet.
    Another,
    /// Make the container of `spec.json` in the run directory. Said once, to a new shim.
    Start { id: ContainerId, dir: PathBuf, run_dir: PathBuf, attach: Option<Wish> },
    /// Be attached to its first process.
    Attach(Wish),
    /// Start another process.
    Exec { spec: Box<ExecSpec>, attach: Option<Wish> },
    /// Set the size of the terminal.
    Resize(TerminalSize),
    /// Send a signal.
    Signal(Signal),
    /// Connect the container to one more network.
    Connect(Box<strata_net::Attachment>),
    /// Disconnect it from the network with this id.
    Disconnect(String),
    /// It is called so from now on.
    Rename(String),
    /// A person is about to end it: remember that, and with `cancel` do not start it again.
    Stopping { cancel: bool },
    /// Start it again by this policy from now on.
    Restart(Restart),
    /// The machine goes down: end it in order, and leave it to its policy whether it runs after that.
    End,
    /// Keep all its processes still until this client leaves, however it leaves.
    Hold,
}

impl Request {
    /// Whether the client stays to hear what comes of it.
    pub(crate) const fn is_waited_for(&self) -> bool {
        !matches!(self, Self::Resize(_) | Self::Signal(_))
    }
}

/// What to be attached to. The descriptors that are wanted come with the packet, in this order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) detach_keys: Vec<u8>,
    pub(crate) size: Option<TerminalSize>,
}

/// What the shim says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// The program is being executed.
    Started { pid: i32, warnings: Vec<String> },
    /// It could not be.
    Failed { kind: Failure, text: String },
    /// Attached.
    Attached,
    /// Noted.
    Noted,
    /// The process ended, and all its output was delivered.
    Exited(i32),
    /// All its processes stand still; no if they did so before, or cannot.
    Held(bool),
    /// The detach keys were typed.
    Detached,
    /// The client's output is closed; the process goes on.
    OutputClosed,
}

/// Why something could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Failure {
    Setup,
    Missing,
    Refused,
}

impl Failure {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::ProgramMissing(_) => Self::Missing,
            Error::ProgramRefused(_) => Self::Refused,
            _ => Self::Setup,
        }
    }

    pub(crate) fn error(self, text: String) -> Error {
        match self {
            Self::Setup => Error::Setup(text),
            Self::Missing => Error::ProgramMissing(text),
            Self::Refused => Error::ProgramRefused(text),
        }
    }
}

impl Wish {
    /// The wish for `attach`, and the descriptors to send with it.
    pub(crate) fn of<'fd>(attach: &Attach<'fd>) -> (Self, Vec<BorrowedFd<'fd>>) {
        let wish = Self {
            stdin: attach.stdin.is_some(),
            stdout: attach.stdout.is_some(),
            stderr: attach.stderr.is_some(),
            detach_keys: attach.detach_keys.clone(),
            size: attach.size,
        };
        (wish, [attach.stdin, attach.stdout, attach.stderr].into_iter().flatten().collect())
    }

    /// Assigns received descriptors: standard input, output, error. None if there are fewer than were announced.
    pub(crate) fn take(&self, fds: Vec<OwnedFd>) -> Option<[Option<OwnedFd>; 3]> {
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| if wanted { fds.next().map(Some) } else { Some(None) };
        Some([next(self.stdin)?, next(self.stdout)?, next(self.stderr)?])
    }
}

/// Says something.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
    block: bool,
) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    packet::send(socket, &bytes, fds, block)
}

/// Hears something; none when the other side has left or talks nonsense.
pub(crate) fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> Result<Option<(T, Vec<OwnedFd>)>, Error> {
    let packet = packet::receive(socket.as_fd()).map_err(Error::step("hear from the other side"))?;
    Ok(packet.and_then(|packet| Some((serde_json::from_slice(&packet.bytes).ok()?, packet.fds))))
}
