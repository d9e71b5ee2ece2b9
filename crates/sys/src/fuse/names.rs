//! Names that come, go and change. What a lower layer has under a name that goes is hidden by a mark; each name is one thing
//! or the other at any moment, also for who looks after the power failed.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::{Errno, Result};

use super::copy_up::{Content, clear, set_mode};
use super::listing::is_empty;
use super::nodes::Node;
use super::union::{Found, UPPER, Union, by_descriptor, is_dir, is_whiteout, set_opaque, stat_in};

/// Who makes something, and what its mode is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Making {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    /// Bits that the mode does not get, unless the directory says otherwise by a default list.
    pub(super) mask: u32,
}

/// The mode of a directory whose content belongs to its group.
const SET_GROUP: u32 = 0o2000;
const SPECIAL: u32 = 0o7000;
/// What a directory's content gets besides its mode (acl(5)).
const DEFAULT_LIST: &str = "system.posix_acl_default";

impl Union {
    /// Makes a file, a device, a pipe or a socket.
    pub(super) fn make_node(&mut self, parent: u64, name: &OsStr, making: Making, device: u64) -> Result<()> {
        let kind = FileType::from_raw_mode(making.mode);
        if kind == FileType::CharacterDevice && device == 0 {
            // It would be a mark.
            return Err(Errno::PERM);
        }
        self.make(parent, name, making, |dir, name| rustix::fs::mknodat(dir, name, kind, plain(making.mode), device))
    }

    /// Makes a directory.
    pub(super) fn make_dir(&mut self, parent: u64, name: &OsStr, making: Making) -> Result<()> {
        let making = Making { mode: making.mode | FileType::Directory.as_raw_mode(), ..making };
        self.make(parent, name, making, |dir, name| rustix::fs::mkdirat(dir, name, plain(making.mode)))
    }

    /// Makes a symbolic link.
    pub(super) fn make_link(&mut self, parent: u64, name: &OsStr, target: &OsStr, making: Making) -> Result<()> {
        let making = Making { mode: FileType::Symlink.as_raw_mode() | 0o777, ..making };
        self.make(parent, name, making, |dir, name| rustix::fs::symlinkat(target, dir, name))
    }

    /// Makes a file that has no name, in the directory `parent`, and opens it; `flags` are its maker's.
    pub(super) fn make_nameless(&mut self, parent: u64, flags: OFlags, making: Making) -> Result<(u64, OwnedFd)> {
        if self.writing.is_none() {
            return Err(Errno::ROFS);
        }
        let (group, _) = self.group(parent, making)?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | (flags & OFlags::EXCL);
        let mode = plain(making.mode & !making.mask);
        let file = self.in_work(|work| rustix::fs::openat(work, ".", flags, mode))?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(making.uid)), Some(Gid::from_raw(group)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(making.mode & !making.mask & 0o7777))?;
        let inode = rustix::fs::fstat(&file)?.st_ino;
        let held = rustix::io::fcntl_dupfd_cloexec(&file, 0)?;
        // A file that is gone may have had that number.
        self.moved.remove(&inode);
        let node = self.nodes.add(Node::new(false, vec![UPPER], inode));
        self.nodes.at_mut(node)?.held = Some(held);
        self.nodes.set_upper_inode(node, inode)?;
        Ok((node, file))
    }

    /// Lets `how` make something under a new name, and gives it its owner.
    fn make(
        &mut self,
        parent: u64,
        name: &OsStr,
        making: Making,
        how: impl FnOnce(BorrowedFd<'_>, &OsStr) -> Result<()>,
    ) -> Result<()> {
        self.copy_up(parent, Content::All)?;
        let dir = self.upper_dir(parent)?;
        let (group, mode) = self.group(parent, making)?;
        let there = stat_in(dir.as_fd(), name)?;
        let is_gone = match &there {
            Some(stat) if is_whiteout(stat) => true,
            Some(_) => return Err(Errno::EXIST),
            None => false,
        };
        if !is_gone {
            return with_mask(making.mask, || how(dir.as_fd(), name))
                .and_then(|()| own(dir.as_fd(), name, making.uid, group, mode));
        }
        let temporary = self.temporary_name()?;
        let marks = self.marks;
        let made = self.in_work(|work| {
            let inherits = inherit(dir.as_fd(), work)?;
            let made = with_mask(making.mask, || how(work, &temporary));
            if inherits {
                rustix::fs::removexattr(by_descriptor(work), DEFAULT_LIST)?;
            }
            made?;
            own(work, &temporary, making.uid, group, mode)?;
            if FileType::from_raw_mode(mode) != FileType::Directory {
                return rustix::fs::renameat(work, &temporary, &dir, name);
            }
            // What it takes the place of hid what lower layers have.
            set_opaque(open_dir(work, &temporary)?.as_fd(), marks)?;
            rustix::fs::renameat_with(work, &temporary, &dir, name, RenameFlags::EXCHANGE)?;
            rustix::fs::unlinkat(work, &temporary, AtFlags::empty())
        });
        made.inspect_err(|_| self.discard(&temporary))
    }

    /// The group of what is made in a directory, and its mode: a directory may want its content to be of its own group.
    fn group(&self, parent: u64, making: Making) -> Result<(u32, u32)> {
        let dir = rustix::fs::fstat(self.reach(parent)?)?;
        if dir.st_mode & SET_GROUP == 0 {
            return Ok((making.gid, making.mode));
        }
        let is_dir = FileType::from_raw_mode(making.mode) == FileType::Directory;
        Ok((dir.st_gid, making.mode | if is_dir { SET_GROUP } else { 0 }))
    }

    /// Gives a file a further name.
    pub(super) fn link(&mut self, node: u64, parent: u64, name: &OsStr) -> Result<()> {
        self.copy_up(node, Content::All)?;
        self.copy_up(parent, Content::All)?;
        let (file, dir) = (self.reach(node)?, self.upper_dir(parent)?);
        let source = by_descriptor(file.as_fd());
        let link = |dir: BorrowedFd<'_>, name: &OsStr| {
            rustix::fs::linkat(rustix::fs::CWD, &source, dir, name, AtFlags::SYMLINK_FOLLOW)
        };
        let linked = match stat_in(dir.as_fd(), name)? {
            None => link(dir.as_fd(), name),
            Some(stat) if is_whiteout(&stat) => {
                let temporary = self.temporary_name()?;
                let linked = self.in_work(|work| {
                    link(work, &temporary)?;
                    rustix::fs::renameat(work, &temporary, &dir, name)
                });
                linked.inspect_err(|_| self.discard(&temporary))
            }
            Some(_) => Err(Errno::EXIST),
        };
        linked?;
        // One that had no name has one now.
        let known = self.nodes.at(node)?;
        let is_known = self.nodes.of_upper_inode(rustix::fs::fstat(&file)?.st_ino) == Some(node);
        if known.held.is_some() && is_known {
            self.nodes.at_mut(node)?.held = None;
            self.nodes.give_name(node, parent, name)?;
        }
        Ok(())
    }

    /// Takes a file's name away.
    pub(super) fn unlink(&mut self, parent: u64, name: &OsStr) -> Result<()> {
        let found = self.find(parent, name)?.ok_or(Errno::NOENT)?;
        if found.is_dir() {
            return Err(Errno::ISDIR);
        }
        self.copy_up(parent, Content::All)?;
        let hold = self.hold(parent, name)?;
        let dir = self.upper_dir(parent)?;
        match (self.lower_has(parent, name)?, stat_in(dir.as_fd(), name)?.is_some()) {
            (false, _) => rustix::fs::unlinkat(&dir, name, AtFlags::empty())?,
            (true, false) => whiteout(dir.as_fd(), name)?,
            (true, true) => {
                let temporary = self.temporary_name()?;
                self.in_work(|work| {
                    whiteout(work, &temporary)?;
                    rustix::fs::renameat(work, &temporary, &dir, name)
                })
                .inspect_err(|_| self.discard(&temporary))?;
            }
        }
        self.gone(parent, name, hold)
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&mut self, parent: u64, name: &OsStr) -> Result<()> {
        let found = self.find(parent, name)?.ok_or(Errno::NOENT)?;
        if !found.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if !is_empty(self, parent, name, &found)? {
            return Err(Errno::NOTEMPTY);
        }
        self.copy_up(parent, Content::All)?;
        let hold = self.hold(parent, name)?;
        let dir = self.upper_dir(parent)?;
        let lower_has = self.lower_has(parent, name)?;
        if !self.is_upper(found.layers[0]) {
            whiteout(dir.as_fd(), name)?;
            return self.gone(parent, name, hold);
        }
        // It may be full of marks.
        let temporary = self.temporary_name()?;
        self.in_work(|work| {
            if lower_has {
                whiteout(work, &temporary)?;
                return rustix::fs::renameat_with(work, &temporary, &dir, name, RenameFlags::EXCHANGE);
            }
            rustix::fs::renameat_with(&dir, name, work, &temporary, RenameFlags::NOREPLACE)
        })
        .inspect_err(|_| self.discard(&temporary))?;
        self.discard(&temporary);
        self.gone(parent, name, hold)
    }

    /// Opens what is going to lose a name that is its only one, so that who has it open finds it still.
    fn hold(&self, parent: u64, name: &OsStr) -> Result<Option<OwnedFd>> {
        match self.nodes.child(parent, name) {
            Some(node) => self.reach(node).map(Some),
            None => Ok(None),
        }
    }

    /// Takes note that a name is gone.
    fn gone(&mut self, parent: u64, name: &OsStr, held: Option<OwnedFd>) -> Result<()> {
        let Some(node) = self.nodes.take_name(parent, name) else { return Ok(()) };
        // Nobody knows it any more, or it has another name.
        let Ok(known) = self.nodes.at(node) else { return Ok(()) };
        if known.held.is_none() && self.nodes.name(node)?.is_none() {
            self.nodes.at_mut(node)?.held = held;
        }
        Ok(())
    }

    /// Gives something another name, perhaps in place of something else, or exchanges two.
    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), flags: u32) -> Result<()> {
        let flags = RenameFlags::from_bits_retain(flags);
        if flags.intersects(!(RenameFlags::EXCHANGE | RenameFlags::NOREPLACE)) {
            return Err(Errno::INVAL);
        }
        let exchange = flags.contains(RenameFlags::EXCHANGE);
        let moved = self.find(from.0, from.1)?.ok_or(Errno::NOENT)?;
        let replaced = self.find(to.0, to.1)?;
        match &replaced {
            Some(_) if flags.contains(RenameFlags::NOREPLACE) => return Err(Errno::EXIST),
            None if exchange => return Err(Errno::NOENT),
            _ => {}
        }
        for found in [Some(&moved), replaced.as_ref().filter(|_| exchange)].into_iter().flatten() {
            // What lower layers have in it would not come along.
            if found.is_dir() && !found.is_own() {
                return Err(Errno::XDEV);
            }
        }
        if let Some(replaced) = replaced.as_ref().filter(|_| !exchange) {
            self.may_replace(to, &moved, replaced)?;
        }
        self.copy_up(from.0, Content::All)?;
        self.copy_up(to.0, Content::All)?;
        self.copy_up_named(from, &moved)?;
        if exchange {
            if let Some(replaced) = &replaced {
                self.copy_up_named(to, replaced)?;
            }
            return self.exchange(from, to);
        }
        let hold = self.hold(to.0, to.1)?;
        self.replace(from, to, is_dir(&moved.stat))?;
        self.gone(to.0, to.1, hold)?;
        if let Some(node) = self.nodes.child(from.0, from.1) {
            self.nodes.give_name(node, to.0, to.1)?;
            self.nodes.take_name(from.0, from.1);
        }
        Ok(())
    }

    fn may_replace(&self, to: (u64, &OsStr), moved: &Found, replaced: &Found) -> Result<()> {
        match (moved.is_dir(), replaced.is_dir()) {
            (true, false) => Err(Errno::NOTDIR),
            (false, true) => Err(Errno::ISDIR),
            (true, true) if !is_empty(self, to.0, to.1, replaced)? => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    fn copy_up_named(&mut self, (parent, name): (u64, &OsStr), found: &Found) -> Result<()> {
        if found.layers.first().is_some_and(|layer| self.is_upper(*layer)) {
            return Ok(());
        }
        let node = self.nodes.child(parent, name).ok_or(Errno::STALE)?;
        self.copy_up(node, Content::All)
    }

    /// Moves within the writable layer; what was at the new name is gone, and at the old one is a mark if lower layers have
    /// something there.
    fn replace(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), is_dir: bool) -> Result<()> {
        let (from_dir, to_dir) = (self.upper_dir(from.0)?, self.upper_dir(to.0)?);
        let below_hidden = self.lower_has(from.0, from.1)?;
        let there = stat_in(to_dir.as_fd(), to.1)?;
        if is_dir {
            if there.is_some() || self.lower_has(to.0, to.1)? {
                set_opaque(open_dir(from_dir.as_fd(), from.1)?.as_fd(), self.marks)?;
            }
            match &there {
                // Only a directory that is empty can be replaced by one: this one may hold marks.
                Some(stat) if super::union::is_dir(stat) => {
                    let old = open_dir(to_dir.as_fd(), to.1)?;
                    set_opaque(old.as_fd(), self.marks)?;
                    clear(old.as_fd())?;
                }
                // A mark cannot be replaced by a directory, but change places with it.
                Some(_) => {
                    rustix::fs::renameat_with(&from_dir, from.1, &to_dir, to.1, RenameFlags::EXCHANGE)?;
                    return if below_hidden {
                        Ok(())
                    } else {
                        rustix::fs::unlinkat(&from_dir, from.1, AtFlags::empty())
                    };
                }
                None => {}
            }
        }
        let flags = if below_hidden { RenameFlags::WHITEOUT } else { RenameFlags::empty() };
        match rustix::fs::renameat_with(&from_dir, from.1, &to_dir, to.1, flags) {
            // Not every filesystem leaves marks.
            Err(Errno::INVAL) if below_hidden => {
                rustix::fs::renameat(&from_dir, from.1, &to_dir, to.1)?;
                whiteout(from_dir.as_fd(), from.1)
            }
            renamed => renamed,
        }
    }

    /// Exchanges what two names stand for in the writable layer.
    fn exchange(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<()> {
        let (from_dir, to_dir) = (self.upper_dir(from.0)?, self.upper_dir(to.0)?);
        for (dir, name, other) in [(&from_dir, from.1, to), (&to_dir, to.1, from)] {
            let stat = stat_in(dir.as_fd(), name)?.ok_or(Errno::NOENT)?;
            if is_dir(&stat) && self.lower_has(other.0, other.1)? {
                set_opaque(open_dir(dir.as_fd(), name)?.as_fd(), self.marks)?;
            }
        }
        rustix::fs::renameat_with(&from_dir, from.1, &to_dir, to.1, RenameFlags::EXCHANGE)?;
        let (one, other) = (self.nodes.child(from.0, from.1), self.nodes.child(to.0, to.1));
        for (node, (old_parent, old_name), (parent, name)) in [(one, from, to), (other, to, from)] {
            let Some(node) = node else { continue };
            // The first of the two has taken the other's name already.
            if self.nodes.child(old_parent, old_name) == Some(node) {
                self.nodes.give_name(node, parent, name)?;
                self.nodes.take_name(old_parent, old_name);
            } else {
                self.nodes.give_name(node, parent, name)?;
            }
        }
        Ok(())
    }
}

/// Makes the mark that hides what lower layers have under a name.
fn whiteout(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Does something while this process has that mask. It has one thread.
fn with_mask<T>(mask: u32, act: impl FnOnce() -> Result<T>) -> Result<T> {
    rustix::process::umask(Mode::from_raw_mode(mask));
    let done = act();
    rustix::process::umask(Mode::empty());
    done
}

/// Gives what was just made its owner, and then the bits that a new owner would cost it.
fn own(dir: BorrowedFd<'_>, name: &OsStr, uid: u32, group: u32, mode: u32) -> Result<()> {
    let (uid, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(group)));
    rustix::fs::chownat(dir, name, uid, group, AtFlags::SYMLINK_NOFOLLOW)?;
    if mode & SPECIAL == 0 || FileType::from_raw_mode(mode) == FileType::Symlink {
        return Ok(());
    }
    let made = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let now = rustix::fs::fstat(&made)?.st_mode;
    set_mode(made.as_fd(), (now & 0o777) | (mode & SPECIAL))
}

/// Lets what is made in the work directory get what the directory `dir` would have given it; says whether that is anything.
fn inherit(dir: BorrowedFd<'_>, work: BorrowedFd<'_>) -> Result<bool> {
    match super::copy_up::attribute(&by_descriptor(dir), OsStr::new(DEFAULT_LIST)) {
        Ok(list) => {
            rustix::fs::setxattr(by_descriptor(work), DEFAULT_LIST, &list, rustix::fs::XattrFlags::empty())?;
            Ok(true)
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

fn open_dir(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// The bits of a mode that need no owner.
fn plain(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o777)
}
