//! Reading a layer's tar again.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::OFlags;
use strata_types::Hasher;

use super::{CONTENT, END, FRAMING, FRAMING_BYTES, KEPT, KEPT_BYTES_MAX, MAGIC};
use crate::dir::open_beneath;
use crate::path::shown;
use crate::{Error, Extent, Result};

/// The most text after `'E'`.
const DIFF_ID_BYTES_MAX: u64 = 256;

/// Reads a layer's tar again, made from a recipe and the tree. The last read fails if its digest is not what it was.
pub struct Player {
    records: Records,
    tree: OwnedFd,
    /// Content that is not in the tree any more, by file.
    kept: HashMap<u64, Vec<u8>>,
    files: u64,
    current: Current,
    hasher: Option<Hasher>,
}

/// What is being read.
enum Current {
    Bytes { bytes: Vec<u8>, at: usize },
    File { file: File, path: Vec<u8>, extents: VecDeque<Extent> },
}

/// One record.
enum Record {
    Framing(Vec<u8>),
    Content { path: Vec<u8>, extents: VecDeque<Extent> },
    Kept { file: u64, length: u64 },
    End(String),
}

impl Player {
    /// Starts at the beginning of the tar.
    pub fn new(recipe: File, tree: OwnedFd) -> Result<Self> {
        let again = recipe.try_clone().map_err(READ)?;
        let kept = Records::open(recipe)?.kept()?;
        let mut again = again;
        again.seek(SeekFrom::Start(0)).map_err(READ)?;
        let current = Current::Bytes { bytes: Vec::new(), at: 0 };
        Ok(Self { records: Records::open(again)?, tree, kept, files: 0, current, hasher: Some(Hasher::sha256()) })
    }

    /// Goes on to the next record that gives bytes; false at the end.
    fn advance(&mut self) -> Result<bool> {
        match self.records.next()? {
            Record::Framing(bytes) => self.current = Current::Bytes { bytes, at: 0 },
            Record::Kept { length, .. } => self.records.skip(length)?,
            Record::Content { path, extents } => {
                let file = self.files;
                self.files += 1;
                self.current = match self.kept.remove(&file) {
                    Some(bytes) => Current::Bytes { bytes, at: 0 },
                    None => {
                        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                        let file = open_beneath(self.tree.as_fd(), &path, flags);
                        let file = file.map_err(|error| Error::file("open", shown(&path), error))?;
                        Current::File { file: file.into(), path, extents }
                    }
                };
            }
            Record::End(expected) => {
                let actual = self.hasher.take().map(|hasher| hasher.finish().to_string()).unwrap_or_default();
                if actual != expected {
                    return Err(Error::Digest { expected, actual });
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_current(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match &mut self.current {
            Current::Bytes { bytes, at } => {
                let count = (&bytes[*at..]).read(buffer).map_err(READ)?;
                *at += count;
                Ok(count)
            }
            Current::File { file, path, extents } => {
                let Some(extent) = extents.front_mut() else { return Ok(0) };
                let wanted = buffer.len().min(usize::try_from(extent.length).unwrap_or(usize::MAX));
                let count = file.read_at(&mut buffer[..wanted], extent.offset);
                let count = count.map_err(|error| Error::file("read", shown(path), error))?;
                if count == 0 {
                    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was");
                    return Err(Error::file("read", shown(path), source));
                }
                extent.offset += count as u64;
                extent.length -= count as u64;
                if extent.length == 0 {
                    extents.pop_front();
                }
                Ok(count)
            }
        }
    }
}

impl Read for Player {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.read_current(buffer)?;
            if count > 0 {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&buffer[..count]);
                }
                return Ok(count);
            }
            if self.hasher.is_none() || !self.advance()? {
                return Ok(0);
            }
        }
    }
}

/// Looks whether a recipe can be read to its end and whether the files that it names are there and long enough.
///
/// # Errors
/// When that is not so.
pub fn look(recipe: File, tree: OwnedFd) -> Result<()> {
    let again = recipe.try_clone().map_err(READ)?;
    let kept = Records::open(recipe)?.kept()?;
    let mut again = again;
    again.seek(SeekFrom::Start(0)).map_err(READ)?;
    let mut records = Records::open(again)?;
    let mut files = 0;
    loop {
        match records.next()? {
            Record::Framing(_) => {}
            Record::Kept { length, .. } => records.skip(length)?,
            Record::End(_) => return Ok(()),
            Record::Content { path, extents } => {
                files += 1;
                if kept.contains_key(&(files - 1)) {
                    continue;
                }
                let file = open_beneath(tree.as_fd(), &path, OFlags::PATH | OFlags::NOFOLLOW);
                let length = file.and_then(|file| rustix::fs::fstat(&file)).map(|stat| stat.st_size as u64);
                let length = length.map_err(|error| Error::file("open", shown(&path), error))?;
                if extents.iter().any(|extent| extent.offset + extent.length > length) {
                    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was");
                    return Err(Error::file("read", shown(&path), source));
                }
            }
        }
    }
}

const READ: fn(io::Error) -> Error = |source| Error::Io { act: "read the layer's recipe", source };

const fn damaged(problem: &'static str) -> Error {
    Error::Damaged { what: "layer recipe", problem }
}

/// The records of a recipe, one after another.
struct Records {
    source: zstd::stream::read::Decoder<'static, BufReader<File>>,
}

impl Records {
    fn open(recipe: File) -> Result<Self> {
        let mut records = Self { source: zstd::stream::read::Decoder::new(recipe).map_err(READ)? };
        if records.bytes(MAGIC.len())? != MAGIC {
            return Err(damaged("it is not a recipe of this version"));
        }
        Ok(records)
    }

    /// All replaced content.
    fn kept(mut self) -> Result<HashMap<u64, Vec<u8>>> {
        let mut kept = HashMap::new();
        let mut total = 0u64;
        loop {
            match self.next()? {
                Record::End(_) => return Ok(kept),
                Record::Kept { file, length } => {
                    total = total.saturating_add(length);
                    if total > KEPT_BYTES_MAX {
                        return Err(damaged("it keeps too much"));
                    }
                    kept.insert(file, self.bytes(length as usize)?);
                }
                Record::Framing(_) | Record::Content { .. } => {}
            }
        }
    }

    fn next(&mut self) -> Result<Record> {
        let kind = self.bytes(1)?;
        match kind[0] {
            FRAMING => {
                let length = self.number(4)? as usize;
                if length > FRAMING_BYTES {
                    return Err(damaged("a record is too long"));
                }
                self.bytes(length).map(Record::Framing)
            }
            CONTENT => {
                let length = self.number(2)? as usize;
                let path = self.bytes(length)?;
                let count = self.number(4)?;
                let mut extents = VecDeque::new();
                for _ in 0..count {
                    let extent = Extent { offset: self.number(8)?, length: self.number(8)? };
                    extent.offset.checked_add(extent.length).ok_or(damaged("an extent is nowhere"))?;
                    extents.push_back(extent);
                }
                Ok(Record::Content { path, extents })
            }
            KEPT => Ok(Record::Kept { file: self.number(8)?, length: self.number(8)? }),
            END => {
                let mut text = String::new();
                (&mut self.source).take(DIFF_ID_BYTES_MAX).read_to_string(&mut text).map_err(READ)?;
                Ok(Record::End(text))
            }
            _ => Err(damaged("a record is of an unknown kind")),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.source).take(length as u64).read_to_end(&mut bytes).map_err(READ)?;
        if bytes.len() == length { Ok(bytes) } else { Err(damaged("it is cut off")) }
    }

    fn number(&mut self, length: usize) -> Result<u64> {
        Ok(self.bytes(length)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink()).map_err(READ)?;
        if skipped == length { Ok(()) } else { Err(damaged("it is cut off")) }
    }
}
