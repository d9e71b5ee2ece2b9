//! Writing large files past the page cache.
//!
//! What is written once and not read soon need not be copied into the page cache, which costs more than everything else about
//! it: of 1 GB, 1.8 s of processor time against 0.25 s in a virtual machine, whose fresh pages are dear. Filesystems that
//! cannot (tmpfs, overlayfs on some) are written in the usual way.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::durable::start_writing;

/// A new file that is written from its beginning to its end. Nothing is durable before [`finish`](Self::finish).
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    direct: bool,
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    written_bytes: u64,
}

/// Large enough that the disk is kept busy by one write after the other.
const BUFFER_BYTES: usize = 2 << 20;
/// What memory, offset and length of a direct write have to be multiples of: no device in use wants more.
const ALIGN_BYTES: usize = 4096;

impl DirectFile {
    /// Creates the file, which must not exist.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create_new(path)?;
        let buffer = vec![0; BUFFER_BYTES + ALIGN_BYTES];
        let start = buffer.as_ptr().align_offset(ALIGN_BYTES);
        Ok(Self { direct: set_direct(&file, true).is_ok(), file, buffer, start, filled: 0, written_bytes: 0 })
    }

    /// Adds bytes.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER_BYTES - self.filled));
            let at = self.start + self.filled;
            self.buffer[at..at + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == BUFFER_BYTES {
                self.flush(BUFFER_BYTES)?;
                self.filled = 0;
            }
        }
        Ok(())
    }

    /// Writes what is left and makes everything durable.
    pub fn finish(mut self) -> io::Result<File> {
        // The rest is no multiple of anything, and small files gain nothing.
        if self.direct && self.filled > 0 {
            set_direct(&self.file, false)?;
            self.direct = false;
        }
        self.flush(self.filled)?;
        self.file.sync_data()?;
        Ok(self.file)
    }

    fn flush(&mut self, length: usize) -> io::Result<()> {
        let bytes = &self.buffer[self.start..self.start + length];
        match self.file.write_all(bytes) {
            // Some filesystems take the flag and refuse the write; the first one tells.
            Err(error) if self.direct && self.written_bytes == 0 && error.kind() == io::ErrorKind::InvalidInput => {
                set_direct(&self.file, false)?;
                self.direct = false;
                self.file.write_all(bytes)?;
            }
            written => written?,
        }
        if !self.direct {
            start_writing(&self.file, self.written_bytes, length as u64)?;
        }
        self.written_bytes += length as u64;
        Ok(())
    }
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
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
    fn what_is_written_is_what_is_read() {
        let (disk, memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        for dir in [disk.path(), memory.path()] {
            for length in [0, 1, 4096, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES + 12_345] {
                check(dir, length);
            }
        }
    }
}
