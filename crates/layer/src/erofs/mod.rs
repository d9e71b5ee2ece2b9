//! A layer's tar made mountable: an EROFS image of metadata only, whose files lie in the tar.
//!
//! The image has 512-byte blocks because that is how tar aligns; the tar is the image's one extra device.

use std::io::Write;
use std::os::fd::BorrowedFd;

use crate::whiteout::Namespace;
use crate::{Entry, Error, Extent, LayerPath, LayerSink, Result};

/// Collects the entries of one layer, then writes its index. Whiteouts become overlayfs's.
pub struct Builder {
    namespace: Namespace,
}

impl Builder {
    /// Starts an empty tree whose overlay marks are in `namespace`.
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace }
    }

    /// Lays out the image for a tar of `tar_bytes`.
    pub fn finish(self, tar_bytes: u64) -> Result<Image> {
        let _ = (tar_bytes, self.namespace);
        Err(Error::Cancelled)
    }
}

impl LayerSink for Builder {
    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        let _ = (entry, data_offset);
        Err(Error::Cancelled)
    }
}

/// A finished index.
pub struct Image {
    bytes: Vec<u8>,
}

impl Image {
    /// Writes it.
    pub fn write_to(&self, target: &mut dyn Write) -> Result<()> {
        target.write_all(&self.bytes).map_err(Error::io("write the layer's index"))
    }

    /// How large it is.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Looks into an index without mounting it. Reads only what is asked for; trusts nothing in the image.
pub struct Reader {
    size_bytes: u64,
}

/// A thing in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is; whiteouts are character devices 0:0. Further names of a file are the file again.
    pub entry: Entry,
    /// The same for all names of one file.
    pub inode: u64,
    /// How many names it has.
    pub links: u32,
    /// Where its content is, by offset in the file.
    pub content: Vec<Piece>,
}

/// Where a piece of a file's content lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which part of the file.
    pub extent: Extent,
    /// Where.
    pub place: Place,
}

/// A place of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this byte of the tar.
    Tar(u64),
    /// At this byte of the index itself.
    Index(u64),
}

impl Reader {
    /// Opens the index in `file`.
    pub fn open(file: std::fs::File) -> Result<Self> {
        let size_bytes = file.metadata().map_err(Error::io("open the layer's index"))?.len();
        Ok(Self { size_bytes })
    }

    /// What is at `path`, not following symbolic links.
    pub fn lookup(&self, path: &LayerPath) -> Result<Option<Node>> {
        let _ = (path, self.size_bytes);
        Err(Error::Cancelled)
    }

    /// The entries of the directory at `path`, sorted by name; `None` if there is no such directory.
    pub fn list(&self, path: &LayerPath) -> Result<Option<Vec<Node>>> {
        let _ = path;
        Err(Error::Cancelled)
    }

    /// Visits everything, each directory before what is in it, sorted by name, the root first.
    pub fn walk(&self, visit: &mut dyn FnMut(&Node) -> Result<()>) -> Result<()> {
        let _ = visit;
        Err(Error::Cancelled)
    }

    /// Opens the content of a file whose layer's tar is `tar`.
    pub fn content<'a>(&'a self, node: &'a Node, tar: BorrowedFd<'a>) -> Result<Box<dyn std::io::Read + 'a>> {
        let _ = (node, tar);
        Err(Error::Cancelled)
    }
}
