//! From names to descriptors, always inside the root.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::path::{DIR_BYTES_MAX, shown};
use crate::{DEPTH_MAX, Error, Result};

/// Parents kept open.
const PARENTS_MAX: usize = 64;

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens what is at `path` below `root`; symbolic links lead no further than `root`, except that one at the end is not
/// followed.
pub(super) fn open_in_root(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    strata_sys::resolve::open(root, path, flags, Mode::empty(), how)
}

/// Opens what is at `path` below `root` where no component may be a symbolic link.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    strata_sys::resolve::open(root, path, flags, Mode::empty(), how)
}

/// A directory entries are put into.
#[derive(Clone)]
pub(super) struct Parent {
    pub(super) fd: Arc<OwnedFd>,
    /// Where it really is below the root, symbolic links resolved.
    pub(super) real: Arc<[u8]>,
}

/// Is told of a directory that was made, its path, and whether it took the place of a whiteout.
pub(super) type Made<'a> = dyn FnMut(BorrowedFd<'_>, &[u8], bool) -> Result<()> + 'a;

/// Finds and makes directories.
pub(super) struct Parents {
    root: OwnedFd,
    /// The root's own place, to tell where something below it is.
    root_place: Vec<u8>,
    open: HashMap<Vec<u8>, Parent>,
}

impl Parents {
    pub(super) fn new(root: OwnedFd) -> Result<Self> {
        let root_place = place(root.as_fd()).map_err(|error| Error::file("find", "/", error))?;
        Ok(Self { root, root_place, open: HashMap::new() })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Has to be called whenever a directory or a symbolic link is removed.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// The directory at `path`, if it is there.
    pub(super) fn find(&mut self, path: &[u8]) -> rustix::io::Result<Parent> {
        if let Some(parent) = self.open.get(path) {
            return Ok(parent.clone());
        }
        let fd = open_in_root(self.root.as_fd(), path, DIR)?;
        let real = self.real(fd.as_fd())?;
        // Links may lead deeper than any name says.
        if real.len() > DIR_BYTES_MAX || real.split(|&byte| byte == b'/').count() >= DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let parent = Parent { fd: Arc::new(fd), real: real.into() };
        if self.open.len() >= PARENTS_MAX {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), parent.clone());
        Ok(parent)
    }

    /// The directory at `path`; what is missing is made. `made` is told about each such directory, and whether it takes
    /// the place of a whiteout.
    pub(super) fn make(&mut self, path: &[u8], made: &mut Made<'_>) -> Result<Parent> {
        match self.find(path) {
            Ok(parent) => return Ok(parent),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(Error::file("open the directory", shown(path), error)),
        }
        let mut above = self.find(b"").map_err(|error| Error::file("open", "/", error))?;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        let mut start = 0;
        for end in ends {
            let (prefix, name) = (&path[..end], &path[start..end]);
            start = end + 1;
            above = match self.find(prefix) {
                Ok(parent) => parent,
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    let over_whiteout = make_dir(above.fd.as_fd(), name, path)?;
                    let parent = self.find(prefix).map_err(|error| Error::file("open", shown(prefix), error))?;
                    made(parent.fd.as_fd(), prefix, over_whiteout)?;
                    parent
                }
                Err(error) => return Err(Error::file("open the directory", shown(prefix), error)),
            };
        }
        Ok(above)
    }

    /// Where a descriptor is below the root.
    fn real(&self, fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
        let place = place(fd)?;
        let below = place.strip_prefix(self.root_place.as_slice()).ok_or(Errno::XDEV)?;
        Ok(below.strip_prefix(b"/").unwrap_or(below).to_vec())
    }
}

/// Makes a directory; true if it took the place of a whiteout.
fn make_dir(parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<bool> {
    let refuse = |problem| Error::Apply { entry: shown(path), problem };
    match rustix::fs::mkdirat(parent, name, Mode::from(0o755)) {
        Ok(()) => return Ok(false),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(Error::file("make the directory", shown(path), error)),
    }
    let stat = rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    let stat = stat.map_err(|error| Error::file("look at", shown(path), error))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == 0 => {}
        FileType::Symlink => return Err(refuse("its parent is a symbolic link to nothing")),
        _ => return Err(refuse("its parent is not a directory")),
    }
    rustix::fs::unlinkat(parent, name, rustix::fs::AtFlags::empty())
        .and_then(|()| rustix::fs::mkdirat(parent, name, Mode::from(0o755)))
        .map_err(|error| Error::file("make the directory", shown(path), error))?;
    Ok(true)
}

fn place(fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let link = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?.into_bytes();
    // The machine's own root is the one that ends with a slash.
    Ok(if link == b"/" { Vec::new() } else { link })
}
