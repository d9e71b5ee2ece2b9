//! Signals by name and number, and reading them from a descriptor (signal(7), signalfd(2)).

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::str::FromStr;

use rustix::io::{Errno, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names in the order of their numbers, from 1, as on x86_64 and aarch64.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
const REALTIME_MIN: u8 = 34;
const REALTIME_MAX: u8 = 64;

/// One signal, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// Why a word is not a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct UnknownSignal(String);

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGQUIT.
    pub const QUIT: Self = Self(3);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGPIPE.
    pub const PIPE: Self = Self(13);
    /// SIGTERM.
    pub const TERM: Self = Self(15);
    /// SIGCHLD.
    pub const CHLD: Self = Self(17);
    /// SIGSTOP.
    pub const STOP: Self = Self(19);
    /// SIGTSTP.
    pub const TSTP: Self = Self(20);
    /// SIGURG.
    pub const URG: Self = Self(23);
    /// SIGWINCH.
    pub const WINCH: Self = Self(28);

    /// The signal with this number; none outside 1 to 64.
    pub const fn from_number(number: u8) -> Option<Self> {
        if number >= 1 && number <= REALTIME_MAX { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// For rustix's functions.
    fn raw(self) -> rustix::process::Signal {
        // SAFETY: 1 to 64 are the kernel's signals, and only sent, never handled by this process's C library.
        unsafe { rustix::process::Signal::from_raw_unchecked(i32::from(self.0)) }
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    /// Reads a number or a name in either case, with or without `SIG`, also `RTMIN+n` and `RTMAX-n`.
    fn from_str(text: &str) -> std::result::Result<Self, UnknownSignal> {
        let unknown = || UnknownSignal(text.to_owned());
        if let Ok(number) = text.parse::<u8>() {
            return Self::from_number(number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(index) = NAMES.iter().position(|known| *known == name) {
            return Ok(Self(index as u8 + 1));
        }
        if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
            return Ok(Self(*number));
        }
        let offset = |rest: &str, sign: char| match rest {
            "" => Some(0),
            _ => rest.strip_prefix(sign)?.parse::<u8>().ok().filter(|n| *n <= REALTIME_MAX - REALTIME_MIN),
        };
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return offset(rest, '+').map(|n| Self(REALTIME_MIN + n)).ok_or_else(unknown);
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            return offset(rest, '-').map(|n| Self(REALTIME_MAX - n)).ok_or_else(unknown);
        }
        Err(unknown())
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Sends a signal to the process behind a pidfd.
pub fn send(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<()> {
    rustix::process::pidfd_send_signal(pidfd, signal.raw())
}

/// Sends a signal to a child that was not reaped yet: only then is a number certainly its own.
pub fn send_to(child: i32, signal: Signal) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(child).ok_or(Errno::SRCH)?;
    rustix::process::kill_process(pid, signal.raw())
}

/// Signals of this process that are read from a descriptor while it lives; dropping it lets them act again.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl SignalFd {
    /// Blocks `signals` in the calling thread and opens a non-blocking descriptor on which they arrive.
    pub fn block(signals: &[Signal]) -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initializes `set`, sigaddset takes numbers between 1 and 64, pthread_sigmask
        // initializes `before`, and a descriptor that signalfd returns belongs to nobody else.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), i32::from(signal.0));
            }
            if libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) != 0 {
                return Err(Errno::INVAL);
            }
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(last_errno());
            }
            Ok(Self { fd: OwnedFd::from_raw_fd(fd), before: before.assume_init() })
        }
    }

    /// The next signal that has arrived, if any.
    pub fn next(&self) -> Result<Option<Signal>> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.fd, &mut info) {
            Ok(_) => Ok(Signal::from_number(info[0])),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        // SAFETY: `before` was filled in by pthread_sigmask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Unblocks all signals and gives each its default action, as a program expects to be started.
pub fn reset() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: SIG_DFL is a valid disposition for every signal but KILL and STOP, for which the call fails harmlessly;
    // sigemptyset initializes the set.
    unsafe {
        for number in 1..=libc::SIGRTMAX() {
            libc::signal(number, libc::SIG_DFL);
        }
        libc::sigemptyset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for (text, number) in [("TERM", 15), ("sigterm", 15), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("IOT", 6)] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for bad in ["", "0", "65", "SIG", "NOPE", "RTMIN+31", "RTMIN3", "-1"] {
            assert!(bad.parse::<Signal>().is_err(), "{bad} parsed");
        }
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
    }

    #[test]
    fn a_blocked_signal_arrives_on_the_descriptor() {
        let signals = SignalFd::block(&[Signal::WINCH]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // SAFETY: sends a blocked signal to this very thread.
        unsafe { libc::raise(libc::SIGWINCH) };
        assert_eq!(signals.next().unwrap(), Some(Signal::WINCH));
    }
}
