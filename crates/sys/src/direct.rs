//! Writing large files past the page cache.
//!
//! What is written once and not read soon need not be copied into the page cache, which costs more than everything else about
//! it: of 1 GB, 1.8 s of processor time against 0.25 s in a virtual machine, whose fresh pages are dear. Filesystems that
//! cannot (tmpfs, overlayfs on some) are written in the usual way.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use rustix::fs::OFlags;

use crate::durable::start_writing;
use crate::reflink;

/// A new file that is written from its beginning to its end. Nothing is durable before [`finish`](Self::finish).
///
/// A direct write waits for the disk, so that a thread does it while the next block is filled. Files of less than a block
/// need none.
#[derive(Debug)]
pub struct DirectFile {
    block: Block,
    stage: Stage,
}

/// Large enough that the disk is kept busy by one write after the other.
const BLOCK_BYTES: usize = 2 << 20;
/// What memory, offset and length of a direct write have to be multiples of: no device in use wants more.
const ALIGN_BYTES: usize = 4096;
/// One that is filled, one that waits, one that is written.
const BLOCKS_MAX: usize = 3;

#[derive(Debug)]
enum Stage {
    /// Nothing is written yet.
    Small(Option<Target>),
    /// A thread writes.
    Large(Writing),
}

#[derive(Debug)]
struct Writing {
    full: SyncSender<Block>,
    empty: Receiver<Block>,
    blocks: usize,
    thread: JoinHandle<io::Result<Target>>,
}

impl DirectFile {
    /// Creates the file, which must not exist.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create_new(path)?;
        let target = Target { direct: set_direct(&file, true).is_ok(), file, written: false };
        Ok(Self { block: Block::new(), stage: Stage::Small(Some(target)) })
    }

    /// Lets `bytes` from `offset` on be the blocks of `from` at `from_offset`, all of them multiples of a
    /// [block](reflink::BLOCK_BYTES), before anything is written. False where the filesystem cannot; otherwise they are to
    /// be [skipped](Self::skip) when writing comes to them.
    pub fn share(&mut self, offset: u64, from: BorrowedFd<'_>, from_offset: u64, bytes: u64) -> io::Result<bool> {
        let Stage::Small(Some(target)) = &self.stage else { return Ok(false) };
        reflink::share(from, from_offset, bytes, target.file.as_fd(), offset)
    }

    /// Leaves out bytes that are there already.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if self.block.filled > 0 {
            self.pass_on()?;
        }
        self.block.at += bytes;
        Ok(())
    }

    /// Adds bytes.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = self.block.fill(bytes);
            if self.block.filled == BLOCK_BYTES {
                self.pass_on()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and makes everything durable.
    pub fn finish(self) -> io::Result<File> {
        let file = self.complete()?;
        file.sync_data()?;
        Ok(file)
    }

    /// Writes what is left; it is the caller's to sync the file.
    pub fn complete(self) -> io::Result<File> {
        let mut target = match self.stage {
            Stage::Small(target) => target.ok_or_else(gone)?,
            Stage::Large(writing) => writing.finish()?,
        };
        target.write(&self.block)?;
        Ok(target.file)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if let Stage::Small(target) = &mut self.stage {
            self.stage = Stage::Large(Writing::start(target.take().ok_or_else(gone)?)?);
        }
        let Stage::Large(writing) = &mut self.stage else { return Err(gone()) };
        let next = writing.next_block();
        let sent = match next {
            Some(mut next) => {
                next.at = self.block.at + self.block.filled as u64;
                writing.full.send(std::mem::replace(&mut self.block, next)).is_ok()
            }
            None => false,
        };
        if sent { Ok(()) } else { self.failure() }
    }

    /// Why the thread ended.
    fn failure(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.stage, Stage::Small(None)) {
            Stage::Large(writing) => writing.finish().and(Err(gone())),
            Stage::Small(_) => Err(gone()),
        }
    }
}

impl Writing {
    fn start(mut target: Target) -> io::Result<Self> {
        let (full, work) = sync_channel::<Block>(1);
        let (back, empty): (Sender<Block>, _) = channel();
        let write = move || {
            for mut block in work {
                target.write(&block)?;
                block.filled = 0;
                // Nobody wants it back at the end.
                back.send(block).unwrap_or_default();
            }
            Ok(target)
        };
        let thread = std::thread::Builder::new().name("layer writer".to_owned()).spawn(write)?;
        Ok(Self { full, empty, blocks: 1, thread })
    }

    /// An empty block, as soon as there is one; none if the thread ended.
    fn next_block(&mut self) -> Option<Block> {
        if let Ok(block) = self.empty.try_recv() {
            return Some(block);
        }
        if self.blocks < BLOCKS_MAX {
            self.blocks += 1;
            return Some(Block::new());
        }
        self.empty.recv().ok()
    }

    fn finish(self) -> io::Result<Target> {
        drop(self.full);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Memory that direct writes take.
#[derive(Debug)]
struct Block {
    memory: Vec<u8>,
    start: usize,
    filled: usize,
    /// Where in the file it belongs.
    at: u64,
}

impl Block {
    fn new() -> Self {
        let memory = vec![0; BLOCK_BYTES + ALIGN_BYTES];
        Self { start: memory.as_ptr().align_offset(ALIGN_BYTES), memory, filled: 0, at: 0 }
    }

    /// Takes as much as there is room for and gives the rest back.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
        let at = self.start + self.filled;
        self.memory[at..at + now.len()].copy_from_slice(now);
        self.filled += now.len();
        later
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }
}

#[derive(Debug)]
struct Target {
    file: File,
    direct: bool,
    written: bool,
}

impl Target {
    fn write(&mut self, block: &Block) -> io::Result<()> {
        let bytes = block.bytes();
        // The last block is no multiple of anything.
        if self.direct && !(bytes.len().is_multiple_of(ALIGN_BYTES) && block.at.is_multiple_of(ALIGN_BYTES as u64)) {
            self.give_up_direct()?;
        }
        match self.file.write_all_at(bytes, block.at) {
            // Some filesystems take the flag and refuse the write; the first one tells.
            Err(error) if self.direct && !self.written && error.kind() == io::ErrorKind::InvalidInput => {
                self.give_up_direct()?;
                self.file.write_all_at(bytes, block.at)?;
            }
            written => written?,
        }
        if !self.direct {
            start_writing(&self.file, block.at, bytes.len() as u64)?;
        }
        self.written = true;
        Ok(())
    }

    fn give_up_direct(&mut self) -> io::Result<()> {
        self.direct = false;
        set_direct(&self.file, false)
    }
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "writing failed before")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dir: &Path, length: usize) {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let path = dir.join(length.to_string());
        let mut file = DirectFile::create(&path).unwrap();
        for piece in bytes.chunks(70_001) {
            file.write_all(piece).unwrap();
        }
        file.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes, "{length} bytes came back otherwise");
        assert!(DirectFile::create(&path).is_err());
    }

    #[test]
    fn a_full_disk_is_told_by_the_write_or_the_end() {
        let error = (|| {
            let file = File::options().write(true).open("/dev/full")?;
            let target = Target { file, direct: false, written: false };
            let mut file = DirectFile { block: Block::new(), stage: Stage::Small(Some(target)) };
            for _ in 0..10 {
                file.write_all(&[1; BLOCK_BYTES])?;
            }
            file.finish()
        })();
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let (disk, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        for dir in [disk.path(), memory.path()] {
            for length in [0, 1, 4096, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 12_345] {
                check(dir, length);
            }
        }
    }
}
