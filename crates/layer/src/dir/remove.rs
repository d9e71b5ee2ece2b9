//! Removing what a layer replaces or hides.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::{Error, LayerPath, Result};

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Is shown each regular file, by inode number, before it is removed.
pub(crate) type Farewell<'a> = dyn FnMut(u64, OwnedFd) -> Result<()> + 'a;

/// Removes things below a root.
pub(super) struct Remover<'a, 'f> {
    /// For messages.
    pub(super) path: &'a LayerPath,
    pub(super) farewell: &'a mut Farewell<'f>,
}

impl Remover<'_, '_> {
    /// Removes `name`, with all that is in it.
    pub(super) fn tree(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.below(dir, name, &mut |_| false).map(|_| ())
    }

    /// Removes `name` and what is in it, except what `keep` says by inode number, and the directories that holds.
    /// True if nothing is left.
    pub(super) fn below(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        keep: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool> {
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(true),
            Err(error) => return Err(self.fail(error)),
        };
        let kept = keep(stat.st_ino);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let child = rustix::fs::openat(dir, name, DIR, Mode::empty()).map_err(|error| self.fail(error))?;
            let empty = self.children(child.as_fd(), keep)?;
            if kept || !empty {
                return Ok(false);
            }
            return self.unlink(dir, name, AtFlags::REMOVEDIR);
        }
        if kept {
            return Ok(false);
        }
        self.say_farewell(dir, name, &stat)?;
        self.unlink(dir, name, AtFlags::empty())
    }

    /// The same for everything in a directory.
    pub(super) fn children(&mut self, dir: BorrowedFd<'_>, keep: &mut dyn FnMut(u64) -> bool) -> Result<bool> {
        let mut names = Vec::new();
        for line in Dir::read_from(dir).map_err(|error| self.fail(error))? {
            let line = line.map_err(|error| self.fail(error))?;
            let name = line.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        let mut empty = true;
        for name in names {
            empty &= self.below(dir, &name, keep)?;
        }
        Ok(empty)
    }

    fn say_farewell(&mut self, dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<()> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let file = rustix::fs::openat(dir, name, FILE, Mode::empty()).map_err(|error| self.fail(error))?;
        (self.farewell)(stat.st_ino, file)
    }

    fn unlink(&self, dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> Result<bool> {
        match rustix::fs::unlinkat(dir, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&self, error: Errno) -> Error {
        Error::file("remove what is replaced by", self.path, error)
    }
}

/// What one layer has put into a tree, by inode number.
pub(super) type Own = HashSet<u64>;
