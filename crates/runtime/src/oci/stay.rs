//! Staying in the foreground with a process: its terminal, its signals, its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use strata_sys::process;
use strata_sys::pty::{self, RawMode};
use strata_sys::signal::{self, Signal, SignalFd};

use super::Error;
use crate::Error as Step;

/// Passes signals on to a child and, if it has one, bytes to and from its terminal, until it ends. Its exit code, or 128
/// and the signal's number.
pub fn stay(pidfd: BorrowedFd<'_>, terminal: Option<OwnedFd>) -> Result<i32, Error> {
    let all: Vec<Signal> = (1..=64).filter_map(Signal::from_number).filter(|signal| is_passed_on(*signal)).collect();
    let signals = SignalFd::block(&all).map_err(Step::step("listen to signals"))?;
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let outer = terminal.is_some() && rustix::termios::isatty(stdin);
    let raw = if outer { Some(RawMode::set(stdin).map_err(Step::step("use the terminal"))?) } else { None };
    if let Some(terminal) = &terminal {
        follow_size(terminal, outer);
    }
    let mut reads_input = terminal.is_some();
    loop {
        let mut watched = vec![PollFd::new(&signals, PollFlags::IN), PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        watched.extend(terminal.as_ref().map(|terminal| PollFd::new(terminal, PollFlags::IN)));
        if reads_input {
            watched.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Step::step("wait for a process")(errno).into()),
        }
        let ready: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        drop(watched);
        while let Ok(Some(signal)) = signals.next() {
            match &terminal {
                Some(terminal) if signal == Signal::WINCH => follow_size(terminal, outer),
                // It may have ended just now.
                _ => drop(signal::send(pidfd, signal)),
            }
        }
        if let Some(terminal) = &terminal {
            if ready.get(2) == Some(&true) && !ready[1] {
                copy(terminal.as_fd(), stdout);
            }
            if reads_input && ready.get(3) == Some(&true) {
                reads_input = copy(stdin, terminal.as_fd());
            }
        }
        if ready[1] {
            if let Some(terminal) = &terminal {
                drain(terminal, stdout);
            }
            drop(raw);
            let ended = process::reap(pidfd, true).map_err(Step::step("reap a process"))?;
            return Ok(ended.map_or(255, process::Ended::code));
        }
    }
}

/// Not those that are about this process only.
fn is_passed_on(signal: Signal) -> bool {
    !matches!(signal, Signal::KILL | Signal::STOP | Signal::CHLD | Signal::PIPE | Signal::URG)
}

fn follow_size(terminal: &OwnedFd, outer: bool) {
    if outer
        && let Ok((rows, columns)) = pty::size(rustix::stdio::stdin())
        && let Err(errno) = pty::set_size(terminal.as_fd(), rows, columns)
    {
        tracing::debug!(%errno, "the terminal keeps its size");
    }
}

/// Copies what there is; no if there will be no more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 16 << 10];
    let read = match rustix::io::read(from, &mut buffer) {
        Ok(0) => return false,
        Ok(read) => read,
        Err(errno) => return matches!(errno, Errno::INTR | Errno::AGAIN),
    };
    let mut rest = &buffer[..read];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}

/// The rest of a terminal's output. Other processes may keep it open: what they write later is nobody's.
fn drain(terminal: &OwnedFd, to: BorrowedFd<'_>) {
    if rustix::io::ioctl_fionbio(terminal, true).is_err() {
        return;
    }
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = rustix::io::read(terminal, &mut buffer) {
        if rustix::io::write(to, &buffer[..read]).is_err() {
            return;
        }
    }
}
