//! Marks of aufs in a directory that holds one layer: files named as in tars.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::whiteout::{OPAQUE_NAME, PREFIX};
use crate::{Error, Result};

/// The mode of all marks: nobody writes into them.
const MODE: u32 = 0o444;

/// Hides what layers below have in `dir`.
pub(super) fn set_opaque(dir: BorrowedFd<'_>, shown: impl ToString) -> Result<()> {
    make(dir, OPAQUE_NAME).map_err(|error| Error::file("mark as opaque", shown, error))
}

/// Hides what layers below have as `name`. What the layer itself has of that name hides it anyway, but for a directory's
/// content.
pub(super) fn whiteout(parent: BorrowedFd<'_>, name: &[u8], shown: impl ToString) -> Result<()> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = rustix::fs::openat(parent, name, flags, Mode::empty());
            let dir = dir.map_err(|error| Error::file("open the directory", shown.to_string(), error))?;
            make(std::os::fd::AsFd::as_fd(&dir), OPAQUE_NAME)
        }
        Ok(_) => Ok(()),
        Err(_) => make(parent, &[PREFIX, name].concat()),
    }
    .map_err(|error| Error::file("make the whiteout", shown, error))
}

/// Removes the mark that `name` is gone, which would hide what the layer itself has of that name; says whether there was one.
pub(super) fn take_whiteout(parent: BorrowedFd<'_>, name: &[u8], shown: impl ToString) -> Result<bool> {
    match rustix::fs::unlinkat(parent, [PREFIX, name].concat(), AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
        Err(error) => Err(Error::file("remove the whiteout of", shown, error)),
    }
}

/// A directory where a mark said that it is gone hides what is below it.
pub(super) fn settle_dir(dir: BorrowedFd<'_>, name: &[u8], shown: impl ToString) -> Result<()> {
    match rustix::fs::unlinkat(dir, [b"../", PREFIX, name].concat(), AtFlags::empty()) {
        Ok(()) => set_opaque(dir, shown),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(()),
        Err(error) => Err(Error::file("remove the whiteout of", shown, error)),
    }
}

fn make(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(MODE)).map(drop)
}
