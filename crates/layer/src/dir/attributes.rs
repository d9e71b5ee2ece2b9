//! Owners, modes, times and extended attributes, by descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::Power;
use crate::whiteout::is_mark;
use crate::{Entry, Error, Result, Time, Xattr};

/// What a listing of names or a value is at first expected to fit.
const USUAL_BYTES: usize = 1024;
/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` of Linux.
const XATTR_BYTES_MAX: usize = 65536;

/// A thing to give attributes to: an open one, or a name in an open directory.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Fd(BorrowedFd<'a>),
    Name(BorrowedFd<'a>, &'a [u8]),
}

impl At<'_> {
    /// A path to it for calls that take no descriptor; the last component is not followed by those calls.
    fn proc_path(self) -> Vec<u8> {
        match self {
            Self::Fd(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes(),
            Self::Name(dir, name) => [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat(),
        }
    }
}

/// Gives owner, mode and attributes, in the order in which none undoes another.
pub(super) fn give(at: At<'_>, entry: &Entry, power: Power, with_mode: bool) -> Result<()> {
    if power != Power::Person {
        let (uid, gid) = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        let given = match at {
            At::Fd(fd) => rustix::fs::fchown(fd, uid, gid),
            At::Name(dir, name) => rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        };
        match given {
            // Who has no id in the namespace cannot own anything.
            Err(Errno::INVAL | Errno::PERM) if power == Power::NamespaceRoot => {}
            other => other.map_err(|error| Error::file("change the owner of", &entry.path, error))?,
        }
    }
    if with_mode {
        let mode = Mode::from(u32::from(entry.mode));
        match at {
            At::Fd(fd) => rustix::fs::fchmod(fd, mode),
            At::Name(dir, name) => rustix::fs::chmodat(dir, name, mode, AtFlags::empty()),
        }
        .map_err(|error| Error::file("change the mode of", &entry.path, error))?;
    }
    for xattr in entry.xattrs.iter().filter(|xattr| !is_mark(&xattr.name)) {
        set_xattr(at, xattr, entry, power)?;
    }
    Ok(())
}

fn set_xattr(at: At<'_>, xattr: &Xattr, entry: &Entry, power: Power) -> Result<()> {
    let (name, value, flags) = (xattr.name.as_slice(), xattr.value.as_slice(), XattrFlags::empty());
    let set = match at {
        At::Fd(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
        At::Name(..) => rustix::fs::lsetxattr(at.proc_path(), name, value, flags),
    };
    match set {
        Ok(()) => Ok(()),
        // As Docker: what this filesystem or these rights do not allow is left out.
        Err(Errno::NOTSUP) => Ok(()),
        Err(Errno::PERM | Errno::ACCESS) if power != Power::Root || name.starts_with(b"user.") => Ok(()),
        Err(error) => Err(Error::file("set an extended attribute of", &entry.path, error)),
    }
}

/// Gives the time of the last change and leaves that of the last access.
pub(super) fn give_time(at: At<'_>, time: Time) -> rustix::io::Result<()> {
    let last_modification = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access, last_modification };
    match at {
        At::Fd(fd) => rustix::fs::futimens(fd, &times),
        At::Name(dir, name) => rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW),
    }
}

/// Reads all attributes, sorted by name.
pub(super) fn xattrs(at: At<'_>) -> rustix::io::Result<Vec<Xattr>> {
    let names = grown(|buffer| match at {
        At::Fd(fd) => rustix::fs::flistxattr(fd, buffer),
        At::Name(..) => rustix::fs::llistxattr(at.proc_path(), buffer),
    });
    let names = match names {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut xattrs = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let value = grown(|buffer| match at {
            At::Fd(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            At::Name(..) => rustix::fs::lgetxattr(at.proc_path(), name, buffer),
        });
        match value {
            Ok(value) => xattrs.push(Xattr { name: name.to_vec(), value }),
            // Removed meanwhile, or one only listed.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Reads into a small buffer, and into the largest there can be if it is too small.
fn grown(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; USUAL_BYTES];
    match read(&mut small) {
        Ok(length) => Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; XATTR_BYTES_MAX];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
