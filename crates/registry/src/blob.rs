//! Reading blobs.

use std::io::{BufRead, Read};

use strata_types::Descriptor;

/// The bytes of a blob, as they come. Also a [`BufRead`], which spares a copy.
#[derive(Debug)]
pub struct BlobReader {}

impl BlobReader {
    /// Reads the same bytes, and fails at the end if their digest is not that of `blob`. Only for readers from offset 0.
    pub fn verified(self, _blob: &Descriptor) -> Box<dyn Read + Send> {
        Box::new(self)
    }
}

impl Read for BlobReader {
    fn read(&mut self, _buffer: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl BufRead for BlobReader {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn consume(&mut self, _amount: usize) {}
}
