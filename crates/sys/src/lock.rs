//! Locks between processes that die with their owner: flock(2) on a file.
//!
//! Descriptors are close-on-exec, so that a lock ends with the process (or the exec) that took it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A lock that is held until this value is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everybody else.
    Exclusive,
    /// Those who want it exclusively.
    Shared,
}

impl Lock {
    /// Waits for the lock on the file at `path`, which is created (0600) when missing.
    pub fn wait(path: &Path, mode: Mode) -> io::Result<Self> {
        loop {
            let file = open(path)?;
            wait_for(&file, mode)?;
            if names(path, &file)? {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// Takes the lock if nobody else holds it; none if somebody does.
    pub fn take(path: &Path, mode: Mode) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            if !take(&file, mode)? {
                return Ok(None);
            }
            if names(path, &file)? {
                return Ok(Some(Self { file, path: path.to_owned() }));
            }
        }
    }

    /// Makes a shared lock an exclusive one; false, and it is lost, if somebody else has it, too.
    pub fn upgrade(&self) -> io::Result<bool> {
        take(&self.file, Mode::Exclusive)
    }

    /// Ends the lock and removes its file. Whoever waits for it notices and makes a new one.
    pub fn remove(self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The file whose lock this is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor that holds the lock, for handing it to a child: the lock lives as long as any copy of it.
    pub fn into_fd(self) -> OwnedFd {
        self.file.into()
    }
}

/// Whether somebody holds the lock on the file at `path`; a missing file is held by nobody.
pub fn is_held(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => Ok(!take(&file, Mode::Exclusive)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until nobody holds the lock on the file at `path`, or it is gone.
pub fn wait_until_free(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => wait_for(&file, Mode::Shared),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the lock of an open file; false if somebody else holds it.
pub fn take(file: impl AsFd, mode: Mode) -> io::Result<bool> {
    let operation = match mode {
        Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
        Mode::Shared => FlockOperation::NonBlockingLockShared,
    };
    match rustix::io::retry_on_intr(|| flock(file.as_fd(), operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether nobody else has a file open, the kernel for its mounts included; false if that cannot be told (fcntl(2),
/// F_SETLEASE).
pub fn is_open_here_only(file: &File) -> bool {
    use std::os::fd::AsRawFd as _;
    // SAFETY: both requests take a number and touch no memory of ours; the descriptor is open.
    unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0
            && libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) == 0
    }
}

/// Whether `path` is still a name of the open `file`: a lock on a file that lost its name protects nothing.
pub fn names(path: &Path, file: impl AsFd) -> io::Result<bool> {
    let held = rustix::fs::fstat(file)?;
    match rustix::fs::lstat(path) {
        Ok(named) => Ok(named.st_ino == held.st_ino && named.st_dev == held.st_dev),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn wait_for(file: &File, mode: Mode) -> io::Result<()> {
    let operation = match mode {
        Mode::Exclusive => FlockOperation::LockExclusive,
        Mode::Shared => FlockOperation::LockShared,
    };
    Ok(rustix::io::retry_on_intr(|| flock(file, operation))?)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_refused_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!is_held(&path).unwrap());
        let first = Lock::take(&path, Mode::Exclusive).unwrap().unwrap();
        assert!(is_held(&path).unwrap());
        assert!(Lock::take(&path, Mode::Shared).unwrap().is_none());
        drop(first);
        assert!(Lock::take(&path, Mode::Exclusive).unwrap().is_some());
    }

    #[test]
    fn whoever_waited_for_a_removed_lock_gets_the_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::take(&path, Mode::Exclusive).unwrap().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::wait(&path, Mode::Exclusive).unwrap());
            first.remove().unwrap();
            let second = waiter.join().unwrap();
            assert!(names(&path, &second.file).unwrap());
            assert!(Lock::take(&path, Mode::Exclusive).unwrap().is_none());
        });
    }
}
