//! Reading a directory tree as entries.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::{Device, Entry, Error, Kind, LayerPath, Result, Time, Xattr};

/// Visits everything below `root` but not `root` itself: directories before what is in them, sorted by name, second
/// names of a file as hard links, sockets passed over. For a file, the second argument is the open file.
pub fn walk(root: BorrowedFd<'_>, visit: &mut dyn FnMut(&Entry, Option<BorrowedFd<'_>>) -> Result<()>) -> Result<()> {
    let mut walker = Walker { first_names: HashMap::new(), visit };
    walker.dir(root, &LayerPath::root())
}

/// What is at `path`, not following a symbolic link at its end; links before that are followed inside `root`.
pub fn entry_at(root: BorrowedFd<'_>, path: &LayerPath) -> Result<Option<Entry>> {
    let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = if path.is_root() { b".".as_slice() } else { path.as_bytes() };
    let found = match rustix::fs::openat2(root, name, flags, Mode::empty(), resolve) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(Error::file("open", path, error)),
    };
    let stat = rustix::fs::fstat(&found).map_err(|error| Error::file("look at", path, error))?;
    let Some(kind) = kind(&stat, || read_link(found.as_fd(), c"", path))? else { return Ok(None) };
    let xattrs = xattrs(&format!("/proc/self/fd/{}", found.as_raw_fd()), Follow::Yes, path)?;
    Ok(Some(entry(path.clone(), kind, &stat, xattrs)))
}

struct Walker<'v> {
    /// The first name of each file that has several, by device and inode.
    first_names: HashMap<(u64, u64), LayerPath>,
    visit: &'v mut dyn FnMut(&Entry, Option<BorrowedFd<'_>>) -> Result<()>,
}

impl Walker<'_> {
    fn dir(&mut self, dir: BorrowedFd<'_>, path: &LayerPath) -> Result<()> {
        for name in names(dir, path)? {
            let below = path
                .join(name.as_bytes())
                .map_err(|source| Error::Path { entry: crate::path::shown(name.as_bytes()), source })?;
            self.one(dir, &name, below)?;
        }
        Ok(())
    }

    fn one(&mut self, dir: BorrowedFd<'_>, name: &CString, path: LayerPath) -> Result<()> {
        let failed = |act: &'static str, path: &LayerPath| {
            let path = path.clone();
            move |error: Errno| Error::file(act, &path, error)
        };
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            // A running container removes files while we look.
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(failed("look at", &path))?,
        };
        let Some(kind) = kind(&stat, || read_link(dir, name, &path))? else { return Ok(()) };
        let opened = match kind {
            Kind::File { .. } | Kind::Dir => match open(dir, name) {
                Err(Errno::NOENT) => return Ok(()),
                opened => Some(opened.map_err(failed("open", &path))?),
            },
            _ => None,
        };
        if let (Kind::File { .. }, true) = (&kind, stat.st_nlink > 1) {
            match self.first_names.get(&(stat.st_dev, stat.st_ino)) {
                Some(target) => {
                    let link = Kind::Hardlink { target: target.clone() };
                    return (self.visit)(&entry(path, link, &stat, Vec::new()), None);
                }
                None => drop(self.first_names.insert((stat.st_dev, stat.st_ino), path.clone())),
            }
        }
        let xattrs = match &opened {
            Some(fd) => xattrs(&format!("/proc/self/fd/{}", fd.as_raw_fd()), Follow::Yes, &path)?,
            None => match name.to_str() {
                Ok(name) => xattrs(&format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()), Follow::No, &path)?,
                Err(_) => Vec::new(),
            },
        };
        let is_dir = kind == Kind::Dir;
        (self.visit)(
            &entry(path.clone(), kind, &stat, xattrs),
            opened.as_ref().filter(|_| !is_dir).map(|fd| fd.as_fd()),
        )?;
        match opened {
            Some(fd) if is_dir => self.dir(fd.as_fd(), &path),
            _ => Ok(()),
        }
    }
}

fn open(dir: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // NOATIME is for the owner and root only.
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn names(dir: BorrowedFd<'_>, path: &LayerPath) -> Result<Vec<CString>> {
    let failed = |error: Errno| Error::file("list", path, error);
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What an inode is; nothing for a socket, which means nothing without its server.
fn kind(stat: &Stat, target: impl FnOnce() -> Result<Vec<u8>>) -> Result<Option<Kind>> {
    let device = || Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File { size_bytes: stat.st_size.cast_unsigned(), sparse: None },
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink { target: target()? },
        FileType::CharacterDevice => Kind::Char(device()),
        FileType::BlockDevice => Kind::Block(device()),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => return Ok(None),
    }))
}

fn read_link(dir: BorrowedFd<'_>, name: &std::ffi::CStr, path: &LayerPath) -> Result<Vec<u8>> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new());
    Ok(target.map_err(|error| Error::file("read the link", path, error))?.into_bytes())
}

fn entry(path: LayerPath, kind: Kind, stat: &Stat, xattrs: Vec<Xattr>) -> Entry {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Entry {
        path,
        kind,
        mode: (stat.st_mode & 0o7777) as u16,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time { seconds: stat.st_mtime, nanoseconds },
        xattrs,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// The path is a descriptor's in /proc, which is a link.
    Yes,
    /// The path's last part may be a link that is meant itself.
    No,
}

/// Attributes that belong to this host and not to the file.
const OF_THE_HOST: &[&[u8]] = &[b"security.selinux", b"security.ima", b"security.evm"];

fn xattrs(place: &str, follow: Follow, path: &LayerPath) -> Result<Vec<Xattr>> {
    let list = |buffer: &mut [u8]| match follow {
        Follow::Yes => rustix::fs::listxattr(place, buffer),
        Follow::No => rustix::fs::llistxattr(place, buffer),
    };
    let mut names = [0; 1024];
    let names = match list(&mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(length) => names[..length].to_vec(),
        Err(Errno::RANGE) => grown(list, path)?,
        Err(error) => return Err(Error::file("list attributes of", path, error)),
    };
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !OF_THE_HOST.contains(name)) {
        let read = |buffer: &mut [u8]| match follow {
            Follow::Yes => rustix::fs::getxattr(place, name, buffer),
            Follow::No => rustix::fs::lgetxattr(place, name, buffer),
        };
        found.push(Xattr { name: name.to_vec(), value: grown(read, path)? });
    }
    found.sort();
    Ok(found)
}

/// Calls with a buffer as large as the kernel allows.
fn grown(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>, path: &LayerPath) -> Result<Vec<u8>> {
    let mut buffer = vec![0; XATTR_BYTES_MAX];
    let length =
        read(&mut buffer).map_err(|error| Error::file("read an attribute of", path, io::Error::from(error)))?;
    buffer.truncate(length);
    Ok(buffer)
}

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX` (xattr(7)).
const XATTR_BYTES_MAX: usize = 65536;
