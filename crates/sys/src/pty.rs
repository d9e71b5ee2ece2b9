//! Pseudo-terminals of one devpts instance (pty(7), ioctl_tty(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::termios::Winsize;

use crate::signal::last_errno;

/// A new terminal.
#[derive(Debug)]
pub struct Pty {
    /// The side of whoever shows it.
    pub master: OwnedFd,
    /// The side of the programs on it.
    pub slave: OwnedFd,
    /// Its number: `/dev/pts/<number>`.
    pub number: u32,
}

/// Makes a terminal of the devpts instance mounted at `pts`. Fails with `ENOTTY` if something else is mounted there.
pub fn create(pts: BorrowedFd<'_>) -> Result<Pty> {
    const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
    if rustix::fs::fstatfs(pts)?.f_type as u64 != DEVPTS_SUPER_MAGIC {
        return Err(Errno::NOTTY);
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = rustix::fs::openat(pts, "ptmx", flags, Mode::empty())?;
    let (unlock, mut number): (libc::c_int, libc::c_uint) = (0, 0);
    // SAFETY: both requests take a pointer to an integer that outlives the call.
    let done = unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) == 0
            && libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) == 0
    };
    if !done {
        return Err(last_errno());
    }
    // SAFETY: opens the other side by the descriptor, whatever its path may be now; the new descriptor is ours alone.
    let slave = unsafe {
        let fd = libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(last_errno());
        }
        OwnedFd::from_raw_fd(fd)
    };
    Ok(Pty { master, slave, number })
}

/// Says how large a terminal is.
pub fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}

/// Rows and columns of a terminal.
pub fn size(terminal: BorrowedFd<'_>) -> Result<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal)?;
    Ok((size.ws_row, size.ws_col))
}

/// A terminal in raw mode until this is dropped.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: rustix::termios::Termios,
}

impl RawMode {
    /// Passes every byte on as typed, without echo.
    pub fn set(terminal: BorrowedFd<'_>) -> Result<Self> {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal: terminal.try_clone_to_owned().map_err(|_| Errno::MFILE)?, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Err(error) = tcsetattr(self.terminal.as_fd(), OptionalActions::Drain, &self.before) {
            tracing::debug!(%error, "the terminal keeps its raw mode");
        }
    }
}
