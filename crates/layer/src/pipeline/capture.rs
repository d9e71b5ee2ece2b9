//! A layer's tar taken down as fast as possible, to be read later: whoever made the files stands still meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use strata_sys::reflink;

use super::pack::Pack;
use super::{Piece, Shares};
use crate::tar::{Times, encode, encode_aligned, end_of_archive, padding_bytes};
use crate::{Entry, Error, Kind, Result};

/// Files from this size on share their blocks with what is taken down where the filesystem can (btrfs, XFS), and are copied by
/// the kernel where not: below it, reading costs less than a system call that may have to write back first.
const SHARED_BYTES_MIN: u64 = 64 << 10;
/// How much is kept in memory; the rest goes to a file without a name.
const MEMORY_BYTES_MAX: usize = 32 << 20;
/// Where a copy begins in that file: a multiple of every filesystem's block size, or blocks could not be shared.
const ALIGN_BYTES: u64 = 64 << 10;

/// A tar that is in memory and in a file without a name, in parts. Nothing is hashed or synced while it is taken.
///
/// Content whose blocks are shared begins at a multiple of a block in the tar, so that the layer can share them, too.
#[derive(Debug)]
pub struct Capture {
    home: PathBuf,
    times: Times,
    spool: Option<Spool>,
    parts: Vec<Part>,
    /// What is being collected.
    memory: Vec<u8>,
    kept_bytes: usize,
    /// Bytes of all parts.
    ended_bytes: u64,
    entries: u64,
}

#[derive(Debug)]
enum Part {
    Memory(Vec<u8>),
    Spooled { offset: u64, bytes: u64, shared: bool },
}

#[derive(Debug)]
struct Spool {
    file: File,
    end: u64,
}

impl Capture {
    /// Starts an empty one; if it needs a file, that is made in the directory `home`, best on the same filesystem.
    pub fn new(home: &Path, times: Times) -> Self {
        Self {
            home: home.to_owned(),
            times,
            spool: None,
            parts: Vec::new(),
            memory: Vec::new(),
            kept_bytes: 0,
            ended_bytes: 0,
            entries: 0,
        }
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Ends the tar; what is read is the tar from its beginning.
    pub fn finish(mut self) -> Result<Captured> {
        self.memory.extend_from_slice(end_of_archive());
        self.end_memory();
        let spool = self.spool.map(|spool| Arc::new(spool.file));
        Ok(Captured { parts: self.parts, spool, part: 0, position: 0 })
    }

    fn end_memory(&mut self) {
        if !self.memory.is_empty() {
            self.kept_bytes += self.memory.len();
            self.ended_bytes += self.memory.len() as u64;
            self.parts.push(Part::Memory(std::mem::take(&mut self.memory)));
        }
    }

    /// Moves what is in memory to the file when there is too much of it.
    fn keep_small(&mut self) -> Result<()> {
        if self.kept_bytes + self.memory.len() <= MEMORY_BYTES_MAX {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.memory);
        let spool = self.spool()?;
        let offset = spool.end;
        spool.file.write_all_at(&bytes, offset).map_err(Error::io("set aside a container's files"))?;
        spool.end += bytes.len() as u64;
        self.push_spooled(offset, bytes.len() as u64, false);
        Ok(())
    }

    fn spool(&mut self) -> Result<&mut Spool> {
        if self.spool.is_none() {
            let file = nameless(&self.home).map_err(Error::io("make a file to set a container's files aside"))?;
            self.spool = Some(Spool { file, end: 0 });
        }
        Ok(self.spool.as_mut().expect("it was just made"))
    }

    fn push_spooled(&mut self, offset: u64, bytes: u64, shared: bool) {
        self.ended_bytes += bytes;
        self.parts.push(Part::Spooled { offset, bytes, shared });
    }

    /// Puts a large file's content aside, and its header before it.
    fn put_aside(&mut self, entry: &Entry, content: BorrowedFd<'_>, size: u64) -> Result<()> {
        let spool = self.spool()?;
        let start = spool.end.next_multiple_of(ALIGN_BYTES);
        let shared = reflink::share(content, 0, size, spool.file.as_fd(), start);
        if shared.map_err(|error| Error::file("share the blocks of", &entry.path, error))? {
            spool.end = start + size;
            let position = self.ended_bytes + self.memory.len() as u64;
            encode_aligned(entry, self.times, position, reflink::BLOCK_BYTES, &mut self.memory);
            self.end_memory();
            self.push_spooled(start, size, true);
            return Ok(());
        }
        encode(entry, self.times, &mut self.memory);
        self.end_memory();
        self.copy(entry, content, size, start)
    }

    fn copy(&mut self, entry: &Entry, content: BorrowedFd<'_>, size: u64, start: u64) -> Result<()> {
        let spool = self.spool()?;
        let (mut from, mut to) = (0, start);
        while from < size {
            let wanted = usize::try_from(size - from).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(content, Some(&mut from), &spool.file, Some(&mut to), wanted) {
                Ok(0) => return Err(shorter(entry)),
                Ok(_) | Err(Errno::INTR) => {}
                // Some filesystems do not know the call.
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    copy_by_hand(entry, content, &mut from, &spool.file, &mut to, size)?;
                }
                Err(errno) => return Err(Error::file("copy", &entry.path, errno)),
            }
        }
        spool.end = start + size;
        self.push_spooled(start, size, false);
        Ok(())
    }

    fn read(&mut self, entry: &Entry, content: BorrowedFd<'_>, size: u64) -> Result<()> {
        let start = self.memory.len();
        let size = usize::try_from(size).expect("small files are read");
        self.memory.resize(start + size, 0);
        let mut done = 0;
        while done < size {
            match rustix::io::pread(content, &mut self.memory[start + done..], done as u64) {
                Ok(0) => return Err(shorter(entry)),
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::file("read", &entry.path, errno)),
            }
        }
        Ok(())
    }
}

impl Pack for Capture {
    fn put(&mut self, entry: &Entry, content: Option<BorrowedFd<'_>>) -> Result<()> {
        self.entries += 1;
        let file = match (&entry.kind, content) {
            (Kind::File { size_bytes, .. }, Some(content)) => Some((*size_bytes, content)),
            _ => None,
        };
        match file {
            Some((size, content)) if size >= SHARED_BYTES_MIN => self.put_aside(entry, content, size)?,
            _ => encode(entry, self.times, &mut self.memory),
        }
        if let Some((size, content)) = file {
            if size < SHARED_BYTES_MIN {
                self.read(entry, content, size)?;
            }
            self.memory.resize(self.memory.len() + padding_bytes(size), 0);
        }
        self.keep_small()
    }
}

/// A tar that was captured, to be read from its beginning.
#[derive(Debug)]
pub struct Captured {
    parts: Vec<Part>,
    spool: Option<Arc<File>>,
    part: usize,
    position: u64,
}

impl Captured {
    /// What of it can be shared, if anything.
    pub fn shares(&self) -> Option<Shares> {
        let mut position = 0;
        let mut pieces = BTreeMap::new();
        for part in &self.parts {
            position += match part {
                Part::Memory(bytes) => bytes.len() as u64,
                Part::Spooled { offset, bytes, shared } => {
                    if *shared {
                        pieces.insert(position, Piece { offset: *offset, bytes: *bytes });
                    }
                    *bytes
                }
            };
        }
        let file = self.spool.as_ref().filter(|_| !pieces.is_empty())?;
        Some(Shares::new(Arc::clone(file), pieces))
    }
}

impl Read for Captured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match (self.parts.get(self.part), &self.spool) {
                (None, _) => return Ok(0),
                (Some(Part::Memory(bytes)), _) => {
                    let rest = &bytes[usize::try_from(self.position).unwrap_or(usize::MAX).min(bytes.len())..];
                    let length = rest.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&rest[..length]);
                    length
                }
                (Some(Part::Spooled { offset, bytes, .. }), Some(spool)) => {
                    let left = usize::try_from(bytes - self.position).unwrap_or(usize::MAX).min(buffer.len());
                    spool.read_at(&mut buffer[..left], offset + self.position)?
                }
                (Some(Part::Spooled { .. }), None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            if read > 0 || buffer.is_empty() {
                self.position += read as u64;
                return Ok(read);
            }
            (self.part, self.position) = (self.part + 1, 0);
        }
    }
}

fn shorter(entry: &Entry) -> Error {
    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read");
    Error::file("read", &entry.path, source)
}

fn copy_by_hand(
    entry: &Entry,
    content: BorrowedFd<'_>,
    from: &mut u64,
    target: &File,
    to: &mut u64,
    size: u64,
) -> Result<()> {
    const BUFFER_BYTES: usize = 256 << 10;
    let mut buffer = vec![0; BUFFER_BYTES];
    while *from < size {
        let wanted = buffer.len().min(usize::try_from(size - *from).unwrap_or(usize::MAX));
        let read = match rustix::io::pread(content, &mut buffer[..wanted], *from) {
            Ok(0) => return Err(shorter(entry)),
            Err(Errno::INTR) => continue,
            other => other.map_err(|errno| Error::file("read", &entry.path, errno))?,
        };
        target.write_all_at(&buffer[..read], *to).map_err(Error::io("set aside a container's files"))?;
        (*from, *to) = (*from + read as u64, *to + read as u64);
    }
    Ok(())
}

/// A file that nobody else finds, and that is gone with its last descriptor.
fn nameless(home: &Path) -> io::Result<File> {
    let mode = Mode::from_raw_mode(0o600);
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let made: OwnedFd = match rustix::fs::open(home, flags | OFlags::TMPFILE, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let path = home.join(format!(".capture-{}", std::process::id()));
            let made = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            rustix::fs::unlink(&path)?;
            made
        }
        other => other?,
    };
    Ok(File::from(made))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::Limits;
    use crate::{LayerPath, LayerSink, Time};

    /// Collects what a tar says: names, and the content's first and last byte.
    #[derive(Default)]
    struct Seen(Vec<(String, u64)>, u64);

    impl LayerSink for Seen {
        fn bytes(&mut self, _chunk: &[u8]) -> Result<()> {
            Ok(())
        }

        fn entry(&mut self, entry: &Entry, _data_offset: u64) -> Result<()> {
            self.0.push((entry.path.to_string(), entry.content_bytes()));
            Ok(())
        }

        fn data(&mut self, _offset: u64, chunk: &[u8]) -> Result<()> {
            self.1 += chunk.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            Ok(())
        }
    }

    #[test]
    fn what_is_captured_is_a_tar_of_small_and_large_files() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = [0, 1, 511, 512, 65_535, 65_536, 65_537, 300_000, 40 << 20, 3];
        let mut capture = Capture::new(dir.path(), Times::Nanoseconds);
        let mut sum = 0;
        for (number, size) in sizes.into_iter().enumerate() {
            let path = dir.path().join(number.to_string());
            std::fs::write(&path, vec![number as u8; size]).unwrap();
            sum += (number * size) as u64;
            let entry = Entry {
                path: LayerPath::root().join(number.to_string().as_bytes()).unwrap(),
                kind: Kind::File { size_bytes: size as u64, sparse: None },
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: Time { seconds: 1, nanoseconds: 5 },
                xattrs: Vec::new(),
            };
            capture.put(&entry, Some(File::open(&path).unwrap().as_fd())).unwrap();
        }
        assert_eq!(capture.entries(), 10);
        let mut seen = Seen::default();
        let mut tar = capture.finish().unwrap();
        let unpacked = crate::unpack(&mut tar, &mut seen, &Limits::GENEROUS, &strata_types::Silent).unwrap();
        assert_eq!(unpacked.entries, 10);
        let expected: Vec<_> =
            sizes.into_iter().enumerate().map(|(number, size)| (format!("/{number}"), size as u64)).collect();
        assert_eq!((seen.0, seen.1), (expected, sum));
    }
}
