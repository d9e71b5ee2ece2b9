//! Uploading blobs and manifests.

use std::io::{self, Read};

/// Where the bytes of a blob to be pushed come from; opened again when an upload has to go on from the middle.
pub trait BlobSource: Sync {
    /// Opens the blob at `offset`.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>>;
}

impl<F> BlobSource for F
where
    F: Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync,
{
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        self(offset)
    }
}

/// What became of a wish to mount a blob from another repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// It is there now.
    Yes,
    /// It has to be uploaded.
    No,
}
