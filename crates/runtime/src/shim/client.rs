//! One who is connected: the shim reads and writes the descriptors they handed over.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Stream;
use crate::wire::{self, Answer};

/// How much output may wait for a client before its program has to wait.
pub(super) const PENDING_BYTES_MAX: usize = 64 << 10;
/// How long a program waits for a client that attached later and takes nothing, before that client is sent away.
pub(super) const STALL_MAX: Duration = Duration::from_secs(10);
/// So much can be written without blocking when poll(2) says that anything can (pipe(7), PIPE_BUF).
const WRITE_BYTES_MAX: usize = 4096;

/// A connection, and what came with it.
pub(super) struct Client {
    pub(super) socket: OwnedFd,
    /// Which program, by its number; none for one who only asks.
    pub(super) program: Option<u32>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) outputs: [Option<Output>; 2],
    pub(super) detach: Detach,
    /// Started the program: output is never thrown away for want of patience.
    pub(super) patient: bool,
    /// The processes stand still for it.
    pub(super) holds: bool,
    /// To be removed.
    pub(super) gone: bool,
}

/// Where output goes.
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pending: Vec<u8>,
    stalled_since: Option<Instant>,
}

impl Output {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, pending: Vec::new(), stalled_since: None }
    }

    pub(super) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what waits, as far as it does not block. False when nobody reads any more.
    pub(super) fn flush(&mut self) -> bool {
        let mut done = 0;
        while done < self.pending.len() {
            let chunk = &self.pending[done..self.pending.len().min(done + WRITE_BYTES_MAX)];
            let mut ready = [PollFd::new(&self.fd, PollFlags::OUT)];
            match poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(0) | Err(Errno::INTR) => break,
                Ok(_) => {}
                Err(_) => return false,
            }
            match rustix::io::write(&self.fd, chunk) {
                Ok(written) => done += written,
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(_) => return false,
            }
        }
        self.stalled_since = match done {
            0 if self.waits() => self.stalled_since.or_else(|| Some(Instant::now())),
            _ => None,
        };
        self.pending.drain(..done);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        true
    }
}

impl Client {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let detach = Detach::new(Vec::new());
        Self {
            socket,
            program: None,
            stdin: None,
            outputs: [None, None],
            detach,
            patient: false,
            holds: false,
            gone: false,
        }
    }

    /// Says something; a client that does not listen is gone.
    pub(super) fn say(&mut self, answer: &Answer) {
        if wire::send(self.socket.as_fd(), answer, &[], false).is_err() {
            self.gone = true;
        }
    }

    /// Passes output on.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let index = usize::from(stream == Stream::Stderr);
        if let Some(output) = &mut self.outputs[index] {
            output.pending.extend_from_slice(bytes);
            self.flush(index);
        }
    }

    /// Writes what waits for one of its outputs. The client is told when its standard output is closed.
    pub(super) fn flush(&mut self, index: usize) {
        if let Some(output) = &mut self.outputs[index]
            && !output.flush()
        {
            self.outputs[index] = None;
            if index == 0 {
                self.say(&Answer::OutputClosed);
                self.gone = true;
            }
        }
    }

    /// Whether its program has to wait for it.
    pub(super) fn is_full(&self) -> bool {
        self.outputs.iter().flatten().any(|output| output.pending.len() >= PENDING_BYTES_MAX)
    }

    /// Whether all output was written.
    pub(super) fn has_all(&self) -> bool {
        self.outputs.iter().flatten().all(|output| !output.waits())
    }

    /// Whether it kept its program waiting for too long.
    pub(super) fn is_too_slow(&self) -> bool {
        let stalled = |output: &Output| output.stalled_since.is_some_and(|since| since.elapsed() > STALL_MAX);
        !self.patient && self.is_full() && self.outputs.iter().flatten().any(stalled)
    }
}

/// Watches for the keys that leave.
pub(super) struct Detach {
    keys: Vec<u8>,
    matched: usize,
}

impl Detach {
    pub(super) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What of `typed` is for the program, and whether the keys were typed. The beginning of the keys is held back until
    /// it is clear that the rest does not follow.
    pub(super) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(*byte == self.keys[0]);
            if self.matched == 0 {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_across_reads() {
        let mut detach = Detach::new(vec![16, 17]);
        assert_eq!(detach.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(detach.filter(b"b\x10\x10"), (b"\x10b\x10".to_vec(), false));
        assert_eq!(detach.filter(b"\x11rest"), (Vec::new(), true));
        assert_eq!(Detach::new(Vec::new()).filter(b"\x10\x11"), (vec![16, 17], false));
    }

    #[test]
    fn a_client_that_reads_nothing_is_full_and_never_blocks_the_shim() {
        let (socket, _other) = strata_sys::packet::pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut client = Client::new(socket);
        client.outputs[0] = Some(Output::new(write));
        while !client.is_full() {
            client.write(Stream::Stdout, &[b'x'; 16 << 10]);
        }
        assert!(!client.has_all());
        drop(read);
        client.flush(0);
        assert!(client.gone, "its output is closed");
    }
}
