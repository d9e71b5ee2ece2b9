//! The conversation with the kernel: one request after the other until the filesystem is mounted nowhere any more.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, Result};

use super::attributes::Wish;
use super::files::Handle;
use super::listing::{Listed, entry_kind};
use super::names::Making;
use super::union::{Found, Union};
use super::wire::{Answer, MINOR_MIN, Request, Seconds, VERSION, device_of, feature, opcode};

/// How much the kernel may read or write at once, and has pages for.
pub(super) const DATA_BYTES_MAX: u32 = 1 << 20;
const PAGES_MAX: u16 = 256;
/// What surrounds the data of a request.
const HEAD_BYTES_MAX: usize = 4096;
/// How many requests may wait without anybody waiting for them, such as reading ahead.
const BACKGROUND_MAX: u16 = 64;
/// A filesystem whose files are on another one only: what may be handed to the kernel.
const STACK_DEPTH: u32 = 1;
/// Nobody else changes what names stand for while a container lives.
const WRITTEN: Seconds = Seconds { name: 24 * 60 * 60, attributes: 1 };
/// One that only looks may look at a container that lives.
const LOOKED_AT: Seconds = Seconds { name: 1, attributes: 1 };

/// Who answers.
pub(super) struct Server {
    device: OwnedFd,
    union: Union,
    seconds: Seconds,
}

impl Server {
    /// One that answers for `union` at the kernel's end `device`.
    pub(super) fn new(device: OwnedFd, union: Union) -> Self {
        let seconds = if union.writing.is_some() { WRITTEN } else { LOOKED_AT };
        Self { device, union, seconds }
    }

    /// Answers until nobody can ask any more.
    pub(super) fn run(&mut self) -> Result<()> {
        let mut buffer = vec![0; DATA_BYTES_MAX as usize + HEAD_BYTES_MAX];
        loop {
            let length = match rustix::io::read(&self.device, &mut buffer) {
                Ok(length) => length,
                // It was unmounted.
                Err(Errno::NODEV) => return Ok(()),
                // Who asked has gone meanwhile.
                Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => continue,
                Err(error) => return Err(error),
            };
            let request = Request::parse(buffer.get(..length).unwrap_or_default())?;
            let Some(answer) = self.answer(request) else { continue };
            match rustix::io::write(&self.device, &answer) {
                // Who asked has gone meanwhile.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(Errno::NODEV) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The answer to a request; none to those that want none.
    fn answer(&mut self, request: Request<'_>) -> Option<Vec<u8>> {
        let mut answer = Answer::new();
        let done = match request.opcode {
            opcode::FORGET | opcode::BATCH_FORGET => {
                self.forget(request).unwrap_or_default();
                return None;
            }
            opcode::INTERRUPT => return None,
            opcode::INIT => self.begin(request, &mut answer),
            opcode::LOOKUP..=opcode::READLINK | opcode::SETXATTR..=opcode::REMOVEXATTR | opcode::STATFS => {
                self.about(request, &mut answer)
            }
            opcode::SYMLINK..=opcode::LINK | opcode::CREATE | opcode::RENAME2 | opcode::TMPFILE => {
                self.names(request, &mut answer)
            }
            opcode::OPENDIR..=opcode::FSYNCDIR | opcode::READDIRPLUS => self.dirs(request, &mut answer),
            opcode::DESTROY => Ok(()),
            opcode::IOCTL => Err(Errno::NOTTY),
            _ => self.files(request, &mut answer),
        };
        Some(match done {
            Ok(()) => answer.finish(request.unique),
            Err(errno) => Answer::failure(errno, request.unique),
        })
    }

    /// Agrees with the kernel on what both can do.
    fn begin(&mut self, request: Request<'_>, answer: &mut Answer) -> Result<()> {
        let mut body = request.body;
        let (major, minor, ahead, low) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        if major != VERSION.0 || minor < MINOR_MIN {
            return Err(Errno::PROTO);
        }
        let offered = u64::from(low) | (u64::from(body.u32().unwrap_or(0)) << 32);
        let wanted = feature::ASYNC_READ
            | feature::ATOMIC_O_TRUNC
            | feature::BIG_WRITES
            | feature::DONT_MASK
            | feature::DO_READDIRPLUS
            | feature::READDIRPLUS_AUTO
            | feature::PARALLEL_DIROPS
            | feature::POSIX_ACL
            | feature::MAX_PAGES
            | feature::CACHE_SYMLINKS
            | feature::INIT_EXT
            | feature::PASSTHROUGH
            | feature::ALLOW_IDMAP;
        let agreed = offered & wanted;
        self.union.files.passthrough = agreed & feature::PASSTHROUGH != 0;
        for number in [VERSION.0, VERSION.1, ahead, agreed as u32] {
            answer.u32(number);
        }
        answer.u16(BACKGROUND_MAX);
        answer.u16(BACKGROUND_MAX / 4 * 3);
        answer.u32(DATA_BYTES_MAX);
        // Times are exact to the nanosecond.
        answer.u32(1);
        answer.u16(PAGES_MAX);
        answer.u16(0);
        answer.u32((agreed >> 32) as u32);
        answer.u32(STACK_DEPTH);
        answer.bytes(&[0; 24]);
        Ok(())
    }

    fn forget(&mut self, request: Request<'_>) -> Result<()> {
        let mut body = request.body;
        if request.opcode == opcode::FORGET {
            self.union.nodes.forget(request.node, body.u64()?);
            return Ok(());
        }
        let count = body.u32()?;
        body.skip(4)?;
        for _ in 0..count {
            self.union.nodes.forget(body.u64()?, body.u64()?);
        }
        Ok(())
    }

    /// What something is.
    fn about(&mut self, request: Request<'_>, answer: &mut Answer) -> Result<()> {
        let (node, mut body, union) = (request.node, request.body, &mut self.union);
        match request.opcode {
            opcode::LOOKUP => return self.look_up(node, body.name()?, answer),
            opcode::GETATTR => answer.attributes_for(&union.attributes(node)?, self.seconds.attributes),
            opcode::SETATTR => {
                union.set_attributes(node, &Wish::parse(&mut body)?)?;
                answer.attributes_for(&union.attributes(node)?, self.seconds.attributes);
            }
            opcode::READLINK => {
                let target = rustix::fs::readlinkat(union.reach(node)?, "", Vec::new())?;
                answer.bytes(target.to_bytes());
            }
            opcode::SETXATTR => {
                let (size, flags) = (body.u32()?, body.u32()?);
                let name = body.text()?;
                union.set_attribute(node, name, body.bytes(size as usize)?, flags)?;
            }
            opcode::GETXATTR | opcode::LISTXATTR => {
                let size = body.u32()? as usize;
                body.skip(4)?;
                let value = match request.opcode {
                    opcode::GETXATTR => union.attribute(node, body.text()?)?,
                    _ => union.attribute_list(node, request.is_of_root())?,
                };
                match size {
                    0 => {
                        answer.u32(value.len() as u32);
                        answer.u32(0);
                    }
                    size if size < value.len() => return Err(Errno::RANGE),
                    _ => answer.bytes(&value),
                }
            }
            opcode::REMOVEXATTR => union.remove_attribute(node, body.text()?)?,
            opcode::STATFS => {
                let about = rustix::fs::fstatvfs(union.layers.first().ok_or(Errno::IO)?)?;
                for number in [about.f_blocks, about.f_bfree, about.f_bavail, about.f_files, about.f_ffree] {
                    answer.u64(number);
                }
                for number in [about.f_bsize, about.f_namemax, about.f_frsize] {
                    answer.u32(number as u32);
                }
                answer.bytes(&[0; 28]);
            }
            _ => return Err(Errno::NOSYS),
        }
        Ok(())
    }

    /// Tells the kernel what a name stands for.
    fn look_up(&mut self, parent: u64, name: &std::ffi::OsStr, answer: &mut Answer) -> Result<()> {
        match self.union.find(parent, name)? {
            Some(found) => self.tell(parent, name, &found, answer),
            // The kernel may believe that, too.
            None => {
                answer.entry(0, None, self.seconds);
                Ok(())
            }
        }
    }

    fn tell(&mut self, parent: u64, name: &std::ffi::OsStr, found: &Found, answer: &mut Answer) -> Result<()> {
        let node = self.union.node_of(parent, name, found)?;
        let stat = self.union.shown(node, found.stat)?;
        self.union.nodes.remember(node)?;
        answer.entry(node, Some(&stat), self.seconds);
        Ok(())
    }

    /// Tells the kernel of what was just made.
    fn tell_made(&mut self, parent: u64, name: &std::ffi::OsStr, answer: &mut Answer) -> Result<u64> {
        let found = self.union.find(parent, name)?.ok_or(Errno::NOENT)?;
        if self.union.nodes.of_upper_inode(found.stat.st_ino).is_none() {
            // A file that is gone may have had that number.
            self.union.moved.remove(&found.stat.st_ino);
        }
        self.tell(parent, name, &found, answer)?;
        self.union.nodes.child(parent, name).ok_or(Errno::STALE)
    }

    /// Names that come, go and change.
    fn names(&mut self, request: Request<'_>, answer: &mut Answer) -> Result<()> {
        let (node, mut body) = (request.node, request.body);
        let making = |mode: u32, mask: u32| Making { uid: request.uid, gid: request.gid, mode, mask };
        match request.opcode {
            opcode::SYMLINK => {
                let (name, target) = (body.name()?, body.text()?);
                self.union.make_link(node, name, target, making(0, 0))?;
                self.tell_made(node, name, answer)?;
            }
            opcode::MKNOD => {
                let (mode, device, mask) = (body.u32()?, body.u32()?, body.u32()?);
                body.skip(4)?;
                let name = body.name()?;
                self.union.make_node(node, name, making(mode, mask), device_of(device))?;
                self.tell_made(node, name, answer)?;
            }
            opcode::MKDIR => {
                let (mode, mask) = (body.u32()?, body.u32()?);
                let name = body.name()?;
                self.union.make_dir(node, name, making(mode, mask))?;
                self.tell_made(node, name, answer)?;
            }
            opcode::UNLINK => self.union.unlink(node, body.name()?)?,
            opcode::RMDIR => self.union.remove_dir(node, body.name()?)?,
            opcode::RENAME | opcode::RENAME2 => {
                let to = body.u64()?;
                let flags = if request.opcode == opcode::RENAME2 { body.u32()? } else { 0 };
                if request.opcode == opcode::RENAME2 {
                    body.skip(4)?;
                }
                let (old, new) = (body.name()?, body.name()?);
                self.union.rename((node, old), (to, new), flags)?;
            }
            opcode::LINK => {
                let file = body.u64()?;
                let name = body.name()?;
                self.union.link(file, node, name)?;
                self.tell_made(node, name, answer)?;
            }
            _ => return self.make_and_open(request, answer),
        }
        Ok(())
    }

    /// Makes a file and opens it at once.
    fn make_and_open(&mut self, request: Request<'_>, answer: &mut Answer) -> Result<()> {
        let mut body = request.body;
        let (flags, mode, mask) = (body.u32()?, body.u32()?, body.u32()?);
        body.skip(4)?;
        let making = Making { uid: request.uid, gid: request.gid, mode, mask };
        let device = self.device.as_fd();
        let handle: Handle = if request.opcode == opcode::TMPFILE {
            let flags = OFlags::from_bits_retain(flags);
            let (node, file) = self.union.make_nameless(request.node, flags, making)?;
            self.union.nodes.remember(node)?;
            answer.entry(node, Some(&self.union.attributes(node)?), self.seconds);
            self.union.hand_out(device, node, file, true)?
        } else {
            let name = body.name()?;
            match self.union.make_node(request.node, name, making, 0) {
                // Somebody else was quicker, and is asked for what they made.
                Err(Errno::EXIST) if !OFlags::from_bits_retain(flags).contains(OFlags::EXCL) => {}
                made => made?,
            }
            let node = self.tell_made(request.node, name, answer)?;
            self.union.open(self.device.as_fd(), node, flags)?
        };
        answer.opened(handle.number, handle.flags, handle.backing);
        Ok(())
    }

    /// Directories that are read.
    fn dirs(&mut self, request: Request<'_>, answer: &mut Answer) -> Result<()> {
        let mut body = request.body;
        match request.opcode {
            opcode::OPENDIR => answer.opened(self.union.open_dir(request.node)?, 0, 0),
            opcode::RELEASEDIR => self.union.release_dir(body.u64()?)?,
            opcode::FSYNCDIR => self.union.sync_dir(request.node)?,
            opcode::READDIR | opcode::READDIRPLUS => {
                let plus = request.opcode == opcode::READDIRPLUS;
                let (handle, mut position, size) = (body.u64()?, body.u64()?, body.u32()? as usize);
                while let Some(entry) = self.union.entry(handle, position)? {
                    if answer.len() + Answer::dirent_bytes(&entry.name, plus) > size.min(DATA_BYTES_MAX as usize) {
                        break;
                    }
                    position += 1;
                    if plus {
                        self.tell_listed(request.node, &entry, answer)?;
                    }
                    answer.dirent(entry.inode, position, entry_kind(entry.kind), &entry.name);
                }
            }
            _ => return Err(Errno::NOSYS),
        }
        Ok(())
    }

    /// Tells the kernel in advance what an entry stands for. Of a directory itself and its parent it knows.
    fn tell_listed(&mut self, dir: u64, entry: &Listed, answer: &mut Answer) -> Result<()> {
        let found = if entry.name == "." || entry.name == ".." { None } else { self.union.find(dir, &entry.name)? };
        match found {
            Some(found) => self.tell(dir, &entry.name, &found, answer),
            None => {
                answer.entry(0, None, self.seconds);
                Ok(())
            }
        }
    }

    /// Files that are open.
    fn files(&mut self, request: Request<'_>, answer: &mut Answer) -> Result<()> {
        let (mut body, union) = (request.body, &mut self.union);
        match request.opcode {
            opcode::OPEN => {
                let handle = union.open(self.device.as_fd(), request.node, body.u32()?)?;
                answer.opened(handle.number, handle.flags, handle.backing);
            }
            opcode::READ => {
                let (handle, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
                answer.fill(size.min(DATA_BYTES_MAX) as usize, |buffer| union.read(handle, offset, buffer))?;
            }
            opcode::WRITE => {
                let (handle, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
                body.skip(4 + 8 + 4 + 4)?;
                union.write(handle, offset, body.bytes(size as usize)?)?;
                answer.u32(size);
                answer.u32(0);
            }
            opcode::RELEASE => union.release(self.device.as_fd(), body.u64()?)?,
            opcode::FSYNC => {
                let handle = body.u64()?;
                union.sync(handle, body.u32()? & 1 != 0)?;
            }
            opcode::FALLOCATE => union.allocate(&mut body)?,
            opcode::LSEEK => answer.u64(union.seek(&mut body)?),
            opcode::COPY_FILE_RANGE => {
                answer.u32(union.copy_range(&mut body)?);
                answer.u32(0);
            }
            // Such as closing, access and locks: the kernel does without us from now on.
            _ => return Err(Errno::NOSYS),
        }
        Ok(())
    }
}
