//! A layer out: entries become a tar, whose digest is computed on the way.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use strata_types::{DiffId, Hasher};

use super::{CHUNK_BYTES, CHUNKS, Unpacked};
use crate::tar::{Times, encode, end_of_archive, padding_bytes};
use crate::{Entry, Error, Kind, LayerSink, Result, Time};

/// Takes entries in the order of a tar.
pub trait Pack {
    /// Takes an entry, for a file with its content: as many bytes from the beginning of `content` as the entry says.
    fn put(&mut self, entry: &Entry, content: Option<BorrowedFd<'_>>) -> Result<()>;
}

impl Pack for Packer<'_> {
    fn put(&mut self, entry: &Entry, content: Option<BorrowedFd<'_>>) -> Result<()> {
        match content {
            Some(file) if entry.is_file() => {
                let file = file.try_clone_to_owned().map_err(|error| Error::file("read", &entry.path, error))?;
                self.add(entry, &mut File::from(file))
            }
            _ => self.add(entry, &mut io::empty()),
        }
    }
}

/// Makes a layer of entries: the tar's bytes go to a sink together with the entries and their place in the tar.
///
/// Holes are written as zeros, and times cut to whole seconds, as Docker does.
pub struct Packer<'a> {
    sink: &'a mut dyn LayerSink,
    times: Times,
    newest: Option<Time>,
    chunk: Vec<u8>,
    filled: usize,
    hashing: Hashing,
    header: Vec<u8>,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    flushed: u64,
    content: u64,
    entries: u64,
}

impl<'a> Packer<'a> {
    /// Starts an empty tar.
    pub fn new(sink: &'a mut dyn LayerSink) -> Self {
        Self {
            sink,
            times: Times::Seconds,
            newest: None,
            chunk: vec![0; CHUNK_BYTES],
            filled: 0,
            hashing: Hashing::Here(Hasher::sha256()),
            header: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// No time is later than this: what is newer gets it.
    #[must_use]
    pub fn newest(mut self, newest: Option<Time>) -> Self {
        self.newest = newest;
        self
    }

    /// Adds an entry; for a file, the first bytes of `content`, as many as the entry says. Fails if there are fewer.
    pub fn add(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<()> {
        self.totals.entries += 1;
        self.totals.content += entry.content_bytes();
        let mut header = std::mem::take(&mut self.header);
        header.clear();
        let entry = &*self.as_packed(entry);
        encode(entry, self.times, &mut header);
        self.frame(&header)?;
        self.header = header;
        self.sink.entry(entry, self.position())?;
        let Kind::File { size_bytes, .. } = entry.kind else { return Ok(()) };
        self.content(entry, size_bytes, content)?;
        self.sink.end()?;
        self.frame(&[0; super::super::tar::BLOCK_BYTES][..padding_bytes(size_bytes)])
    }

    /// Ends the tar.
    pub fn finish(mut self) -> Result<Unpacked> {
        self.frame(end_of_archive())?;
        let tar_bytes = self.position();
        let rest = &self.chunk[..self.filled];
        self.sink.bytes(rest)?;
        let mut hasher = self.hashing.finish();
        hasher.update(rest);
        let Totals { content, entries, .. } = self.totals;
        Ok(Unpacked { diff_id: DiffId::new(hasher.finish()), tar_bytes, content_bytes: content, entries })
    }

    /// The entry as whoever unpacks the tar will see it: what is made of it now must not differ from what is made then.
    fn as_packed<'e>(&self, entry: &'e Entry) -> Cow<'e, Entry> {
        let mut packed = Cow::Borrowed(entry);
        if let Some(newest) = self.newest.filter(|newest| entry.mtime > *newest) {
            packed.to_mut().mtime = newest;
        }
        if self.times == Times::Seconds && packed.mtime.nanoseconds != 0 {
            packed.to_mut().mtime.nanoseconds = 0;
        }
        packed
    }

    fn position(&self) -> u64 {
        self.totals.flushed + self.filled as u64
    }

    fn content(&mut self, entry: &Entry, size: u64, content: &mut dyn Read) -> Result<()> {
        let mut offset = 0;
        while offset < size {
            self.make_room()?;
            let room = self.chunk.len() - self.filled;
            let wanted = room.min(usize::try_from(size - offset).unwrap_or(usize::MAX));
            let target = &mut self.chunk[self.filled..self.filled + wanted];
            match content.read(target) {
                Ok(0) => {
                    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read");
                    return Err(Error::file("read", &entry.path, source));
                }
                Ok(count) => {
                    self.sink.data(offset, &target[..count])?;
                    self.filled += count;
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::file("read", &entry.path, error)),
            }
        }
        Ok(())
    }

    /// Adds bytes that are no content.
    fn frame(&mut self, bytes: &[u8]) -> Result<()> {
        if !bytes.is_empty() {
            self.sink.framing(bytes)?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            self.make_room()?;
            let taken = rest.len().min(self.chunk.len() - self.filled);
            self.chunk[self.filled..self.filled + taken].copy_from_slice(&rest[..taken]);
            self.filled += taken;
            rest = &rest[taken..];
        }
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        if self.filled == self.chunk.len() {
            self.sink.bytes(&self.chunk)?;
            self.totals.flushed += self.filled as u64;
            self.filled = 0;
            let full = std::mem::take(&mut self.chunk);
            self.chunk = self.hashing.take(full);
        }
        Ok(())
    }
}

/// The digest, on a thread of its own once there is more than one chunk.
enum Hashing {
    Here(Hasher),
    There { chunks: SyncSender<Vec<u8>>, recycled: Receiver<Vec<u8>>, made: usize, thread: JoinHandle<Hasher> },
}

impl Hashing {
    /// Takes a chunk and gives one back.
    fn take(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        if let Self::Here(hasher) = self {
            *self = Self::start(hasher.clone());
        }
        let Self::There { chunks, recycled, made, .. } = self else { return chunk };
        // The thread ends only when its input does: both channels are open.
        chunks.send(chunk).expect("the digesting thread waits for chunks");
        if *made < CHUNKS {
            *made += 1;
            return vec![0; CHUNK_BYTES];
        }
        recycled.recv().expect("the digesting thread gives chunks back")
    }

    fn start(mut hasher: Hasher) -> Self {
        let (chunks, input) = sync_channel::<Vec<u8>>(CHUNKS);
        let (recycle, recycled) = sync_channel(CHUNKS);
        let thread = std::thread::spawn(move || {
            for chunk in input {
                hasher.update(&chunk);
                if recycle.send(chunk).is_err() {
                    break;
                }
            }
            hasher
        });
        Self::There { chunks, recycled, made: 1, thread }
    }

    fn finish(self) -> Hasher {
        match self {
            Self::Here(hasher) => hasher,
            Self::There { chunks, recycled, thread, .. } => {
                drop(chunks);
                // Drained rather than dropped, so that the last chunks are still digested.
                recycled.iter().for_each(drop);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        }
    }
}
