//! What is about to be changed is copied to the writable layer first, whole: with its attributes, and after the directories
//! it lies in.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use super::union::{UPPER, Union, by_descriptor, is_mark};
use crate::reflink;

/// What of a file's content is wanted in the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    All,
    /// It is going to be emptied.
    Nothing,
}

/// How much is copied at once where the filesystem has no better way.
const COPY_BYTES: usize = 256 << 10;

impl Union {
    /// Brings a node to the writable layer unless it is there.
    pub(super) fn copy_up(&mut self, node: u64, content: Content) -> Result<()> {
        if self.writing.is_none() {
            return Err(Errno::ROFS);
        }
        let mut missing = Vec::new();
        let mut at = node;
        while !self.is_in_upper(at)? {
            missing.push(at);
            match self.nodes.name(at)? {
                Some((parent, _)) => at = parent,
                None => break,
            }
        }
        for node in missing.into_iter().rev() {
            self.copy_one(node, content)?;
        }
        Ok(())
    }

    /// The same for a file that is about to be written: fails with `ESTALE` when the kernel reads it by itself from a lower
    /// layer. Who then looks the name up again finds the copy.
    pub(super) fn copy_up_to_write(&mut self, node: u64, content: Content) -> Result<()> {
        self.copy_up(node, content)?;
        let is_read_below = self.nodes.at(node)?.backing.is_some_and(|backing| !self.is_upper(backing.layer));
        if is_read_below {
            let held = self.reach(node)?;
            self.nodes.detach(node, held)?;
            return Err(Errno::STALE);
        }
        Ok(())
    }

    /// Copies one whose directory is there already.
    fn copy_one(&mut self, node: u64, content: Content) -> Result<()> {
        let from = self.reach(node)?;
        let stat = rustix::fs::fstat(&from)?;
        let Some((parent, name)) = self.nodes.name(node)? else { return self.copy_nameless(node, &from, &stat) };
        let temporary = self.temporary_name()?;
        let made = self.make_copy(from.as_fd(), &stat, &temporary, content).and_then(|inode| {
            let dir = self.upper_dir(parent)?;
            let before = rustix::fs::fstat(&dir)?;
            self.put_into_place(&temporary, dir.as_fd(), &name)?;
            // That it was copied is no change of its directory.
            rustix::fs::futimens(&dir, &times(&before))?;
            Ok(inode)
        });
        let inode = made.inspect_err(|_| self.discard(&temporary))?;
        self.note_copy(node, inode)
    }

    /// A file that was removed and is still open, or a directory: nobody will find it again.
    fn copy_nameless(&mut self, node: u64, from: &OwnedFd, stat: &Stat) -> Result<()> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::STALE);
        }
        let temporary = self.temporary_name()?;
        let inode = self.make_copy(from.as_fd(), stat, &temporary, Content::All)?;
        let held = self.in_work(|work| {
            rustix::fs::openat(work, &temporary, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        });
        self.discard(&temporary);
        self.nodes.at_mut(node)?.held = Some(held?);
        self.note_copy(node, inode)
    }

    /// Makes a copy in the work directory and gives its number.
    fn make_copy(&self, from: BorrowedFd<'_>, stat: &Stat, name: &OsStr, content: Content) -> Result<u64> {
        self.in_work(|work| {
            let kind = FileType::from_raw_mode(stat.st_mode);
            match kind {
                FileType::Directory => rustix::fs::mkdirat(work, name, Mode::RWXU)?,
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(from, "", Vec::new())?;
                    rustix::fs::symlinkat(&*target, work, name)?;
                }
                FileType::RegularFile => {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                    let to = rustix::fs::openat(work, name, flags, Mode::RUSR | Mode::WUSR)?;
                    if content == Content::All {
                        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                        let from = rustix::fs::open(by_descriptor(from), flags, Mode::empty())?;
                        copy_content(from.as_fd(), to.as_fd(), stat.st_size as u64)?;
                    }
                }
                _ => rustix::fs::mknodat(work, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?,
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let to = rustix::fs::openat(work, name, flags, Mode::empty())?;
            rustix::fs::chownat(
                &to,
                "",
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
                AtFlags::EMPTY_PATH,
            )?;
            copy_attributes(from, to.as_fd())?;
            if kind != FileType::Symlink {
                set_mode(to.as_fd(), stat.st_mode)?;
            }
            rustix::fs::utimensat(&to, "", &times(stat), AtFlags::EMPTY_PATH)?;
            Ok(rustix::fs::fstat(&to)?.st_ino)
        })
    }

    /// From now on the node is the copy with that number.
    fn note_copy(&mut self, node: u64, inode: u64) -> Result<()> {
        let copied = self.nodes.at_mut(node)?;
        self.moved.insert(inode, copied.inode);
        if copied.is_dir {
            copied.layers.insert(0, UPPER);
            return Ok(());
        }
        copied.layers = vec![UPPER];
        self.nodes.set_upper_inode(node, inode)?;
        // Who reads it through us reads the copy, too: the kernel keeps one content for all.
        let reached = self.reach(node)?;
        let copy = rustix::fs::open(
            by_descriptor(reached.as_fd()),
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        );
        match copy {
            Ok(copy) => self.files.replace(node, &copy),
            // Nothing that is read through us.
            Err(_) => Ok(()),
        }
    }

    /// Moves what was made in the work directory to its name, where nothing is yet.
    fn put_into_place(&self, temporary: &OsStr, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        self.in_work(|work| rustix::fs::renameat_with(work, temporary, dir, name, rustix::fs::RenameFlags::NOREPLACE))
    }

    /// Acts in the work directory.
    pub(super) fn in_work<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> Result<T>) -> Result<T> {
        act(self.writing.as_ref().ok_or(Errno::ROFS)?.work.as_fd())
    }

    /// A name that nothing in the work directory has.
    pub(super) fn temporary_name(&mut self) -> Result<OsString> {
        let writing = self.writing.as_mut().ok_or(Errno::ROFS)?;
        writing.made += 1;
        Ok(OsString::from(writing.made.to_string()))
    }

    /// Removes what is left in the work directory. What cannot be goes at the next mount.
    pub(super) fn discard(&self, temporary: &OsStr) {
        self.in_work(|work| remove_below(work, temporary)).unwrap_or_default();
    }
}

/// Removes a file, or a directory with what is in it, if it is there.
pub(super) fn remove_below(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error),
    }
    clear(open_dir(dir, name)?.as_fd())?;
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

/// Removes all that is in a directory.
pub(super) fn clear(dir: BorrowedFd<'_>) -> Result<()> {
    let names: Vec<OsString> = list(dir)?.into_iter().map(|(name, ..)| name).collect();
    names.iter().try_for_each(|name| remove_below(dir, name))
}

/// What is in a directory, besides itself and its parent: names, numbers and kinds.
pub(super) fn list(dir: BorrowedFd<'_>) -> Result<Vec<(OsString, u64, FileType)>> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if name != c"." && name != c".." {
            found.push((OsStr::from_bytes(name.to_bytes()).to_owned(), entry.ino(), entry.file_type()));
        }
    }
    Ok(found)
}

fn open_dir(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Sets the mode of what a descriptor is open on, even if it is good for attributes only; no symbolic link.
pub(super) fn set_mode(file: BorrowedFd<'_>, mode: u32) -> Result<()> {
    rustix::fs::chmodat(rustix::fs::CWD, by_descriptor(file), Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())
}

pub(super) fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as i64 },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 },
    }
}

/// Copies content and holes; shares blocks where the filesystem can.
fn copy_content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: u64) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    if reflink::share(from, 0, bytes, to, 0).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))? {
        return Ok(());
    }
    rustix::fs::ftruncate(to, bytes)?;
    let mut at = 0;
    while at < bytes {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => return Ok(()),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            found => found?,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(bytes).min(bytes);
        copy_piece(from, to, start, end)?;
        at = end.max(at + 1);
    }
    Ok(())
}

fn copy_piece(from: BorrowedFd<'_>, to: BorrowedFd<'_>, mut at: u64, end: u64) -> Result<()> {
    let mut buffer = Vec::new();
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let (mut source, mut target) = (at, at);
        let copied = if buffer.is_empty() {
            rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), left).unwrap_or(0)
        } else {
            let wanted = left.min(COPY_BYTES);
            let read = rustix::io::pread(from, &mut buffer[..wanted], at)?;
            write_all_at(to, &buffer[..read], at)?;
            read
        };
        if copied > 0 {
            at += copied as u64;
        } else if buffer.is_empty() {
            buffer = vec![0; COPY_BYTES];
        } else {
            // It became shorter, which nobody but a person at the layer's files can do.
            return Err(Errno::IO);
        }
    }
    Ok(())
}

/// Writes all of it, in pieces if need be.
pub(super) fn write_all_at(to: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(to, bytes, at))?;
        bytes = bytes.get(written..).unwrap_or_default();
        at += written as u64;
    }
    Ok(())
}

/// Copies extended attributes but for the marks, which say something about one layer only.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let (from, to) = (by_descriptor(from), by_descriptor(to));
    for name in attribute_names(&from)? {
        if is_mark(&name) {
            continue;
        }
        match rustix::fs::setxattr(&to, &*name, &attribute(&from, &name)?, XattrFlags::empty()) {
            // Who lives in a user namespace may not set all that they may read.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The names of all extended attributes of a file.
pub(super) fn attribute_names(path: &str) -> Result<Vec<OsString>> {
    let listed = grown(|buffer| rustix::fs::listxattr(path, buffer));
    let names = match listed {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        listed => listed?,
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| OsStr::from_bytes(name).to_owned()).collect())
}

/// The value of an extended attribute.
pub(super) fn attribute(path: &str, name: &OsStr) -> Result<Vec<u8>> {
    grown(|buffer| rustix::fs::getxattr(path, name, buffer))
}

/// Asks with larger and larger buffers; the largest answer there is has 64 KiB.
fn grown(ask: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 10];
    loop {
        match ask(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 64 << 10 => buffer.resize(64 << 10, 0),
            Err(error) => return Err(error),
        }
    }
}
