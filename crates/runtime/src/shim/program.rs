//! One process of the container and its standard streams.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use strata_sys::process;

use crate::Stream;
use crate::spec::{Process, Stdin};

/// How much input may wait until the program reads.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// As much as is read at once.
pub(super) const READ_BYTES: usize = 16 << 10;

/// A process that this shim started.
pub(super) struct Program {
    pub(super) number: u32,
    /// What events call it, if it joined the container.
    pub(super) id: String,
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// Its terminal's other side.
    pub(super) terminal: Option<OwnedFd>,
    /// The other sides of its pipes.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) outputs: [Option<OwnedFd>; 2],
    pub(super) stdin_kind: Stdin,
    input: Vec<u8>,
    /// How it ended.
    pub(super) exit_code: Option<i32>,
    /// All its output was read.
    pub(super) drained: bool,
}

/// This side of a new program's streams.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) outputs: [Option<OwnedFd>; 2],
}

impl Program {
    /// Makes the program of a child that will be known when it runs.
    pub(super) fn new_for(number: u32, process: &Process, ends: Ends) -> impl FnOnce(process::Child) -> Self {
        let (stdin_kind, Ends { stdin, outputs }) = (process.stdin, ends);
        move |process::Child { pid, pidfd }| {
            let (id, terminal, input) = (String::new(), None, Vec::new());
            Self {
                number,
                id,
                pid,
                pidfd,
                terminal,
                stdin,
                outputs,
                stdin_kind,
                input,
                exit_code: None,
                drained: false,
            }
        }
    }

    /// What can be read from it: a terminal is one stream.
    pub(super) fn readable(&self) -> impl Iterator<Item = (Stream, &OwnedFd)> {
        let streams = [Stream::Stdout, Stream::Stderr].into_iter().zip(&self.outputs);
        let pipes = streams.filter_map(|(stream, fd)| Some((stream, fd.as_ref()?)));
        self.terminal.iter().map(|fd| (Stream::Stdout, fd)).chain(pipes)
    }

    /// Reads some output into `buffer`; none if there is none now. A stream that has ended is closed.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let slot = match (&self.terminal, stream) {
            (Some(_), Stream::Stdout) => &mut self.terminal,
            (_, Stream::Stdout) => &mut self.outputs[0],
            (_, Stream::Stderr) => &mut self.outputs[1],
        };
        match rustix::io::read(slot.as_ref()?, buffer) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            // A terminal that no process has open is EIO.
            Ok(0) | Err(_) => {
                *slot = None;
                None
            }
            Ok(read) => Some(read),
        }
    }

    /// Whether input is welcome.
    pub(super) fn takes_input(&self) -> bool {
        (self.terminal.is_some() || self.stdin.is_some()) && self.input.len() < INPUT_BYTES_MAX
    }

    /// Where waiting input will go.
    pub(super) fn writable(&self) -> Option<&OwnedFd> {
        if self.input.is_empty() { None } else { self.terminal.as_ref().or(self.stdin.as_ref()) }
    }

    /// Adds input.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.push();
    }

    /// Writes waiting input as far as the program takes it.
    pub(super) fn push(&mut self) {
        while let Some(fd) = self.writable() {
            match rustix::io::write(fd, &self.input) {
                Ok(written) => {
                    self.input.drain(..written);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.stdin = None;
                    self.input = Vec::new();
                }
            }
        }
        self.input = Vec::new();
    }

    /// Ends its input, once what waits was taken. A terminal has no end.
    pub(super) fn end_input(&mut self) {
        self.push();
        if self.input.is_empty() {
            self.stdin = None;
        }
        self.stdin_kind = Stdin::Empty;
    }

    /// Ends its input if that was asked for meanwhile.
    pub(super) fn push_and_end(&mut self) {
        self.push();
        if self.stdin_kind == Stdin::Empty && self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// Looks whether it has ended.
    pub(super) fn reap(&mut self) {
        if self.exit_code.is_some() {
            return;
        }
        match process::reap(self.pidfd.as_fd(), false) {
            Ok(Some(ended)) => self.exit_code = Some(ended.code()),
            Ok(None) => {}
            // Somebody else reaped it: how it ended is not known.
            Err(_) => self.exit_code = Some(255),
        }
    }
}
