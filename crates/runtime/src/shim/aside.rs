//! A log that is kept by a process of its own, so that a slow one, of a full journal or a busy disk, holds up nobody
//! (`mode=non-blocking`).
//!
//! ```text
//! shim -> keeper   kind: 0 standard output, 1 standard error, 2 "say when all is written" . length: u32 . lines
//! keeper -> shim   a byte, when all is written
//! ```

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use strata_sys::process::{self, NamespaceSet};
use strata_sys::signal::{self, Signal, SignalFd};

use super::log::{LINE_BYTES_MAX, Log};
use crate::{Stream, spec};

/// How long the end of a container waits for its log.
const SETTLE_MAX: Duration = Duration::from_secs(2);

const SYNC: u8 = 2;

/// Where output goes.
pub(super) enum Keeper {
    /// Into the files at once.
    Here(Log),
    /// By way of another process.
    Aside(Aside),
}

impl Keeper {
    /// Opens the log in `dir`; none if none is kept.
    pub(super) fn open(dir: &Path, how: &spec::Log) -> io::Result<Option<Self>> {
        let Some(log) = Log::open(dir, how)? else { return Ok(None) };
        match how.buffer_bytes {
            None => Ok(Some(Self::Here(log))),
            Some(bytes) => Aside::start(log, dir, how, bytes).map(Self::Aside).map(Some),
        }
    }

    /// Adds output.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Here(log) => log.write(stream, bytes),
            Self::Aside(aside) => {
                aside.write(stream, bytes);
                Ok(())
            }
        }
    }

    /// Writes what waits for its line's end: the container has ended.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Here(log) => log.end(Stream::Stdout).and(log.end(Stream::Stderr)),
            Self::Aside(aside) => aside.settle(),
        }
    }

    /// What to wait for, to be written to.
    pub(super) fn waits(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Aside(aside) if !aside.waiting.is_empty() => Some(aside.socket.as_fd()),
            _ => None,
        }
    }

    /// Passes on what waits.
    pub(super) fn flush(&mut self) {
        if let Self::Aside(aside) = self {
            aside.flush();
        }
    }
}

/// The connection to the process that keeps the log.
pub(super) struct Aside {
    socket: UnixStream,
    /// Frames, of which the first `sent` bytes of the first one are sent.
    waiting: VecDeque<Vec<u8>>,
    sent: usize,
    bytes: usize,
    bytes_max: usize,
    open_lines: [Vec<u8>; 2],
    keeper: process::Child,
    /// It had not written all when the container ended.
    is_stuck: bool,
}

impl Drop for Aside {
    /// One that gets on writes what it has and ends by itself.
    fn drop(&mut self) {
        if self.is_stuck
            && let Err(errno) = signal::send(self.keeper.pidfd.as_fd(), Signal::KILL)
        {
            tracing::debug!(%errno, "who keeps the log has just ended");
        }
    }
}

impl Aside {
    fn start(log: Log, dir: &Path, how: &spec::Log, bytes_max: u64) -> io::Result<Self> {
        // Only to know that it can be opened: the other process opens it for itself.
        drop(log);
        let (ours, theirs) = UnixStream::pair()?;
        let (dir, how) = (dir.to_owned(), how.clone());
        let theirs: OwnedFd = theirs.into();
        let keeper =
            process::clone(NamespaceSet::default(), None, move || u8::from(keep(theirs, &dir, &how).is_err()))?;
        ours.set_nonblocking(true)?;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let (waiting, open_lines) = (VecDeque::new(), [Vec::new(), Vec::new()]);
        Ok(Self { socket: ours, waiting, sent: 0, bytes: 0, bytes_max, open_lines, keeper, is_stuck: false })
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let index = usize::from(stream == Stream::Stderr);
        self.open_lines[index].extend_from_slice(bytes);
        // Whole lines only: what is lost is not to be seen as a part of another.
        let lines = &mut self.open_lines[index];
        let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if lines.len() - end >= LINE_BYTES_MAX { lines.len() } else { end };
        let rest = lines.split_off(end);
        let whole = std::mem::replace(lines, rest);
        self.put_lines(index as u8, &whole);
    }

    /// Lets lines wait, as many as there is room for. What comes when the memory is full is lost, as Docker loses it.
    fn put_lines(&mut self, kind: u8, mut lines: &[u8]) {
        while !lines.is_empty() {
            let room = self.bytes_max.saturating_sub(self.bytes).min(lines.len());
            let end_of = |line: &[u8]| line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let fits = if room == lines.len() { room } else { end_of(&lines[..room]) };
            if fits > 0 {
                self.put(kind, &lines[..fits]);
                self.flush();
                lines = &lines[fits..];
            } else {
                let lost = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
                lines = &lines[lost..];
            }
        }
    }

    fn put(&mut self, kind: u8, content: &[u8]) {
        let mut frame = vec![kind];
        frame.extend_from_slice(&(content.len() as u32).to_le_bytes());
        frame.extend_from_slice(content);
        self.bytes += frame.len();
        self.waiting.push_back(frame);
    }

    fn flush(&mut self) {
        while let Some(front) = self.waiting.front() {
            match self.socket.write(&front[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
                // Nobody keeps it any more.
                Err(_) => {
                    self.waiting.clear();
                    (self.bytes, self.sent) = (0, 0);
                    return;
                }
            }
            if self.sent == front.len() {
                self.bytes -= self.sent;
                self.sent = 0;
                self.waiting.pop_front();
            }
        }
    }

    /// Waits until all is written, but not for long.
    fn settle(&mut self) -> io::Result<()> {
        for index in 0..2 {
            let open = std::mem::take(&mut self.open_lines[index]);
            self.put_lines(index as u8, &open);
        }
        self.put(SYNC, &[]);
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            self.flush();
            let flags = if self.waiting.is_empty() { PollFlags::IN } else { PollFlags::OUT };
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), flags)];
            self.is_stuck = poll(&mut fds, Some(&timeout))? == 0;
            if self.is_stuck {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut byte = [0];
            match self.socket.read(&mut byte) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Keeps the log until the shim is gone. What ends the shim does not end this process: it has something to write yet.
fn keep(socket: OwnedFd, dir: &Path, how: &spec::Log) -> io::Result<()> {
    process::close_all_but(&[socket.as_fd()])?;
    let _signals = SignalFd::block(&[Signal::TERM, Signal::INT, Signal::HUP])?;
    let Some(mut log) = Log::open(dir, how)? else { return Ok(()) };
    let mut socket = UnixStream::from(socket);
    loop {
        let mut head = [0; 5];
        match socket.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let mut lines = vec![0; u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize];
        socket.read_exact(&mut lines)?;
        let written = match head[0] {
            0 => log.write(Stream::Stdout, &lines),
            1 => log.write(Stream::Stderr, &lines),
            _ => log.end(Stream::Stdout).and(log.end(Stream::Stderr)).and_then(|()| socket.write_all(&[0])),
        };
        if let Err(error) = written {
            tracing::debug!(%error, "output is missing in the log");
        }
    }
}
