//! Modes, owners, times, lengths and extended attributes.

use std::ffi::OsStr;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use super::copy_up::{Content, attribute, attribute_names, set_mode};
use super::union::{Union, by_descriptor, is_mark};
use super::wire::{Body, set};

/// What [`super::wire::opcode::SETATTR`] asks for (`struct fuse_setattr_in`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    valid: u32,
    size: u64,
    accessed: Timespec,
    modified: Timespec,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Wish {
    /// Reads one.
    pub(super) fn parse(body: &mut Body<'_>) -> Result<Self> {
        let valid = body.u32()?;
        body.skip(4 + 8)?;
        let size = body.u64()?;
        // Who holds locks.
        body.skip(8)?;
        let (accessed, modified) = (body.u64()?, body.u64()?);
        body.skip(8)?;
        let (accessed_nsec, modified_nsec) = (body.u32()?, body.u32()?);
        body.skip(4)?;
        let mode = body.u32()?;
        body.skip(4)?;
        let (uid, gid) = (body.u32()?, body.u32()?);
        let time = |wanted: u32, now: u32, seconds: u64, nanoseconds: u32| {
            let nanoseconds = match () {
                () if valid & now != 0 => UTIME_NOW,
                () if valid & wanted != 0 => i64::from(nanoseconds),
                () => UTIME_OMIT,
            };
            Timespec { tv_sec: seconds as i64, tv_nsec: nanoseconds }
        };
        Ok(Self {
            valid,
            size,
            accessed: time(set::ATIME, set::ATIME_NOW, accessed, accessed_nsec),
            modified: time(set::MTIME, set::MTIME_NOW, modified, modified_nsec),
            mode,
            uid,
            gid,
        })
    }

    fn has(&self, bits: u32) -> bool {
        self.valid & bits != 0
    }
}

impl Union {
    /// Changes what is asked for.
    pub(super) fn set_attributes(&mut self, node: u64, wish: &Wish) -> Result<()> {
        if wish.has(set::SIZE) {
            let content = if wish.size == 0 { Content::Nothing } else { Content::All };
            self.copy_up_to_write(node, content)?;
        } else {
            self.copy_up(node, Content::All)?;
        }
        let file = self.reach(node)?;
        if wish.has(set::UID | set::GID) {
            let uid = wish.has(set::UID).then(|| Uid::from_raw(wish.uid));
            let gid = wish.has(set::GID).then(|| Gid::from_raw(wish.gid));
            rustix::fs::chownat(&file, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if wish.has(set::SIZE) {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let open = rustix::fs::open(by_descriptor(file.as_fd()), flags, Mode::empty())?;
            rustix::fs::ftruncate(open, wish.size)?;
        }
        if wish.has(set::MODE) {
            set_mode(file.as_fd(), wish.mode)?;
        }
        if wish.has(set::ATIME | set::MTIME | set::ATIME_NOW | set::MTIME_NOW) {
            let times = Timestamps { last_access: wish.accessed, last_modification: wish.modified };
            rustix::fs::utimensat(&file, "", &times, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }

    /// The value of an extended attribute.
    pub(super) fn attribute(&self, node: u64, name: &OsStr) -> Result<Vec<u8>> {
        if is_mark(name) {
            return Err(Errno::OPNOTSUPP);
        }
        let file = self.reach(node)?;
        attribute(&by_descriptor(file.as_fd()), name)
    }

    /// The names of extended attributes, each with a zero behind it. Only root hears of those that only root may read.
    pub(super) fn attribute_list(&self, node: u64, is_root: bool) -> Result<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt as _;
        let file = self.reach(node)?;
        let names = attribute_names(&by_descriptor(file.as_fd()))?;
        let seen = names.iter().filter(|name| !is_mark(name) && (is_root || !name.as_bytes().starts_with(b"trusted.")));
        Ok(seen.flat_map(|name| name.as_bytes().iter().copied().chain([0])).collect())
    }

    /// Sets an extended attribute.
    pub(super) fn set_attribute(&mut self, node: u64, name: &OsStr, value: &[u8], flags: u32) -> Result<()> {
        if is_mark(name) {
            return Err(Errno::OPNOTSUPP);
        }
        self.copy_up(node, Content::All)?;
        let file = self.reach(node)?;
        rustix::fs::setxattr(by_descriptor(file.as_fd()), name, value, XattrFlags::from_bits_retain(flags))
    }

    /// Removes an extended attribute.
    pub(super) fn remove_attribute(&mut self, node: u64, name: &OsStr) -> Result<()> {
        // Nothing is copied for what is not there.
        self.attribute(node, name)?;
        self.copy_up(node, Content::All)?;
        let file = self.reach(node)?;
        rustix::fs::removexattr(by_descriptor(file.as_fd()), name)
    }
}
