//! Compressed data read as what it was before.

use std::io::{self, BufRead, BufReader, Read};

use super::gzip::GzipReader;
use super::{Format, SNIFF_BYTES, sniff};
use crate::{Error, Result};

/// How much compressed data is read at once.
const INPUT_BYTES: usize = 256 << 10;

/// Reads compressed data as what it was before. Errors of the data come as [`Error::Decompress`] inside the I/O error.
pub struct Decoder<R: Read> {
    inner: Inner<R>,
}

enum Inner<R: Read> {
    Plain(BufReader<Rewound<R>>),
    Gzip(Box<GzipReader<Rewound<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Rewound<R>>>>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes of `source` and reads it as what it is.
    pub fn new(mut source: R) -> Result<Self> {
        let mut head = [0u8; SNIFF_BYTES];
        let mut filled = 0;
        while filled < head.len() {
            match source.read(&mut head[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read the layer")(error)),
            }
        }
        let format = sniff(&head[..filled])?;
        let source = Rewound { head, at: 0, filled, source };
        let buffered = |source| BufReader::with_capacity(INPUT_BYTES, source);
        Ok(Self {
            inner: match format {
                Format::Plain => Inner::Plain(buffered(source)),
                Format::Gzip => Inner::Gzip(Box::new(GzipReader::new(source))),
                Format::Zstd => {
                    let decoder = zstd::stream::read::Decoder::with_buffer(buffered(source));
                    Inner::Zstd(Box::new(decoder.map_err(Error::io("start the zstd decoder"))?))
                }
            },
        })
    }

    /// What was found.
    pub fn format(&self) -> Format {
        match self.inner {
            Inner::Plain(_) => Format::Plain,
            Inner::Gzip(_) => Format::Gzip,
            Inner::Zstd(_) => Format::Zstd,
        }
    }

    /// The source, to ask how much of it was read.
    pub fn source(&self) -> &R {
        match &self.inner {
            Inner::Plain(reader) => &reader.get_ref().source,
            Inner::Gzip(reader) => &reader.source().source,
            Inner::Zstd(reader) => &reader.get_ref().get_ref().source,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (format, result) = match &mut self.inner {
            Inner::Plain(reader) => return reader.read(buffer),
            Inner::Gzip(reader) => (Format::Gzip, reader.read(buffer)),
            Inner::Zstd(reader) => (Format::Zstd, reader.read(buffer)),
        };
        result.map_err(|source| blame(source, format))
    }
}

/// Tells what the decoder says about the data from what the source says about itself.
fn blame(error: io::Error, format: Format) -> io::Error {
    match error.downcast::<SourceError>() {
        Ok(SourceError(source)) => source,
        Err(source) if source.kind() == io::ErrorKind::Interrupted => source,
        Err(source) => Error::Decompress { format: format.name(), source }.into(),
    }
}

/// An error that is the source's and not the decoder's.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SourceError(io::Error);

/// A source with the bytes that were looked at put back.
struct Rewound<R> {
    head: [u8; SNIFF_BYTES],
    at: usize,
    filled: usize,
    source: R,
}

impl<R: Read> Read for Rewound<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.filled {
            let count = (&self.head[self.at..self.filled]).read(buffer)?;
            self.at += count;
            return Ok(count);
        }
        self.source.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::other(SourceError(error)),
        })
    }
}

/// Whether nothing but zeros is left.
pub(super) fn only_zeros(source: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let rest = source.fill_buf()?;
        if rest.is_empty() {
            return Ok(true);
        }
        if rest.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        let length = rest.len();
        source.consume(length);
    }
}
