//! Open files: read and written here, or by the kernel itself where it takes them (Documentation/filesystems/fuse-passthrough.rst).

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::{Errno, Result};

use super::copy_up::{Content, write_all_at};
use super::listing::Listed;
use super::nodes::Backing;
use super::union::{UPPER, Union, by_descriptor};
use super::wire::{Body, opened};
use crate::signal::last_errno;

/// `FUSE_DEV_IOC_BACKING_OPEN` and `…_CLOSE`.
const BACKING_OPEN: u64 = 0x4010_e501;
const BACKING_CLOSE: u64 = 0x4004_e502;

/// All that is open, by the numbers that the kernel was told.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: HashMap<u64, OpenFile>,
    dirs: HashMap<u64, OpenDir>,
    next: u64,
    /// The kernel takes files itself.
    pub(super) passthrough: bool,
}

#[derive(Debug)]
struct OpenFile {
    node: u64,
    file: OwnedFd,
    /// The kernel reads and writes it.
    is_passed: bool,
    is_written: bool,
}

#[derive(Debug)]
struct OpenDir {
    node: u64,
    /// What it held when somebody began to read it.
    listed: Vec<Listed>,
}

/// How a file was opened: the number that stands for it, and what the kernel may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    pub(super) number: u64,
    pub(super) flags: u32,
    pub(super) backing: i32,
}

impl Files {
    fn add(&mut self, file: OpenFile) -> u64 {
        self.next += 1;
        self.files.insert(self.next, file);
        self.next
    }

    fn at(&self, handle: u64) -> Result<&OpenFile> {
        self.files.get(&handle).ok_or(Errno::BADF)
    }

    /// Whoever has `node` open to read it through us reads `copy` from now on.
    pub(super) fn replace(&mut self, node: u64, copy: &OwnedFd) -> Result<()> {
        for file in self.files.values_mut().filter(|file| file.node == node && !file.is_passed) {
            file.file = rustix::io::fcntl_dupfd_cloexec(copy, 0)?;
        }
        Ok(())
    }
}

impl Union {
    /// Opens a file; `device` is the kernel's end.
    pub(super) fn open(&mut self, device: BorrowedFd<'_>, node: u64, flags: u32) -> Result<Handle> {
        let flags = OFlags::from_bits_retain(flags);
        let truncates = flags.contains(OFlags::TRUNC);
        let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR) || truncates;
        if writes {
            self.copy_up_to_write(node, if truncates { Content::Nothing } else { Content::All })?;
        }
        let reached = self.reach(node)?;
        let path = by_descriptor(reached.as_fd());
        let open = |flags: OFlags| rustix::fs::open(&path, flags | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let file = if writes {
            open(OFlags::RDWR | (flags & OFlags::TRUNC))?
        } else {
            // Only who owns a file may leave its time alone.
            open(OFlags::RDONLY | OFlags::NOATIME).or_else(|_| open(OFlags::RDONLY))?
        };
        self.hand_out(device, node, file, writes)
    }

    /// Gives what is open on a node a number, and hands it to the kernel if that takes it.
    pub(super) fn hand_out(
        &mut self,
        device: BorrowedFd<'_>,
        node: u64,
        file: OwnedFd,
        is_written: bool,
    ) -> Result<Handle> {
        let backing = self.backing(device, node, file.as_fd())?;
        let known = self.nodes.at_mut(node)?;
        let (flags, number) = match backing {
            Some(number) => (opened::PASSTHROUGH, number),
            None => {
                known.opens += 1;
                (opened::KEEP_CACHE, 0)
            }
        };
        let handle = self.files.add(OpenFile { node, file, is_passed: backing.is_some(), is_written });
        Ok(Handle { number: handle, flags, backing: number })
    }

    /// The kernel's number for a node's file, if the kernel is to read and write it by itself. All who have a node open do it
    /// in the same way.
    fn backing(&mut self, device: BorrowedFd<'_>, node: u64, file: BorrowedFd<'_>) -> Result<Option<i32>> {
        let is_possible = self.files.passthrough;
        let known = self.nodes.at_mut(node)?;
        if let Some(backing) = &mut known.backing {
            backing.opens += 1;
            return Ok(Some(backing.number));
        }
        if !is_possible || known.opens > 0 {
            return Ok(None);
        }
        // As the kernel's structure: the descriptor, flags, and room for more.
        let map = [file.as_raw_fd(), 0, 0, 0];
        // SAFETY: the request reads a structure of 16 bytes that outlives the call.
        let number = unsafe { libc::ioctl(device.as_raw_fd(), BACKING_OPEN as _, map.as_ptr()) };
        if number <= 0 {
            // Whoever may not do it may not do it later; a filesystem that is a stack itself is no candidate either.
            self.files.passthrough = false;
            return Ok(None);
        }
        let layer = known.layers.first().copied().unwrap_or(UPPER);
        known.backing = Some(Backing { number, layer, opens: 1 });
        Ok(Some(number))
    }

    /// Closes a file.
    pub(super) fn release(&mut self, device: BorrowedFd<'_>, handle: u64) -> Result<()> {
        let file = self.files.files.remove(&handle).ok_or(Errno::BADF)?;
        let Ok(known) = self.nodes.at_mut(file.node) else { return Ok(()) };
        if !file.is_passed {
            known.opens = known.opens.saturating_sub(1);
            return Ok(());
        }
        let Some(backing) = &mut known.backing else { return Ok(()) };
        backing.opens -= 1;
        if backing.opens > 0 {
            return Ok(());
        }
        let number = backing.number;
        known.backing = None;
        // SAFETY: the request reads one number, which outlives the call.
        match unsafe { libc::ioctl(device.as_raw_fd(), BACKING_CLOSE as _, &raw const number) } {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    }

    /// Reads into `buffer`, as much as there is.
    pub(super) fn read(&self, handle: u64, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let file = self.files.at(handle)?;
        let mut done = 0;
        while done < buffer.len() {
            let more =
                rustix::io::retry_on_intr(|| rustix::io::pread(&file.file, &mut buffer[done..], offset + done as u64))?;
            if more == 0 {
                break;
            }
            done += more;
        }
        Ok(done)
    }

    pub(super) fn write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        write_all_at(self.files.at(handle)?.file.as_fd(), bytes, offset)
    }

    /// Waits for the disk, if anybody has to. What a lower layer has is there.
    pub(super) fn sync(&self, handle: u64, data_only: bool) -> Result<()> {
        let file = self.files.at(handle)?;
        match &self.writing {
            Some(writing) if !writing.volatile => {}
            _ => return Ok(()),
        }
        if !file.is_written && self.nodes.at(file.node).is_ok_and(|node| node.layers != [UPPER]) {
            return Ok(());
        }
        if data_only { rustix::fs::fdatasync(&file.file) } else { rustix::fs::fsync(&file.file) }
    }

    /// `struct fuse_fallocate_in`.
    pub(super) fn allocate(&self, body: &mut Body<'_>) -> Result<()> {
        let file = self.files.at(body.u64()?)?;
        let (offset, length) = (body.u64()?, body.u64()?);
        rustix::fs::fallocate(&file.file, FallocateFlags::from_bits_retain(body.u32()?), offset, length)
    }

    /// `struct fuse_lseek_in`: where the next data or hole is.
    pub(super) fn seek(&self, body: &mut Body<'_>) -> Result<u64> {
        const DATA: u32 = libc::SEEK_DATA as u32;
        const HOLE: u32 = libc::SEEK_HOLE as u32;
        let file = self.files.at(body.u64()?)?;
        let offset = body.u64()?;
        let whence = match body.u32()? {
            DATA => SeekFrom::Data(offset),
            HOLE => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        rustix::fs::seek(&file.file, whence)
    }

    /// `struct fuse_copy_file_range_in`: copies within the union, by the filesystem below; says how much.
    pub(super) fn copy_range(&self, body: &mut Body<'_>) -> Result<u32> {
        let (from, mut source) = (self.files.at(body.u64()?)?, body.u64()?);
        body.skip(8)?;
        let (to, mut target) = (self.files.at(body.u64()?)?, body.u64()?);
        let length = body.u64()?.min(1 << 30) as usize;
        let copied = rustix::fs::copy_file_range(&from.file, Some(&mut source), &to.file, Some(&mut target), length)?;
        Ok(copied as u32)
    }

    /// Opens a directory.
    pub(super) fn open_dir(&mut self, node: u64) -> Result<u64> {
        if !self.nodes.at(node)?.is_dir {
            return Err(Errno::NOTDIR);
        }
        self.files.next += 1;
        self.files.dirs.insert(self.files.next, OpenDir { node, listed: Vec::new() });
        Ok(self.files.next)
    }

    /// The entry at a position of an open directory; none at its end. Who is at the beginning sees what is there now.
    pub(super) fn entry(&mut self, handle: u64, position: u64) -> Result<Option<Listed>> {
        let open = self.files.dirs.get(&handle).ok_or(Errno::BADF)?;
        if position == 0 {
            let listed = self.list(open.node)?;
            if let Some(open) = self.files.dirs.get_mut(&handle) {
                open.listed = listed;
            }
        }
        let open = self.files.dirs.get(&handle).ok_or(Errno::BADF)?;
        Ok(usize::try_from(position).ok().and_then(|position| open.listed.get(position)).cloned())
    }

    /// Waits until what was done in a directory is on the disk.
    pub(super) fn sync_dir(&self, node: u64) -> Result<()> {
        let waits = self.writing.as_ref().is_some_and(|writing| !writing.volatile);
        if !waits || !self.is_in_upper(node)? {
            return Ok(());
        }
        match self.upper_dir(node) {
            Ok(dir) => rustix::fs::fsync(dir),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Closes a directory.
    pub(super) fn release_dir(&mut self, handle: u64) -> Result<()> {
        self.files.dirs.remove(&handle).map(drop).ok_or(Errno::BADF)
    }
}
