//! Layers in plain directories: applied entry by entry, and walked back into entries.
//!
//! Everything happens below a descriptor of the root. No name from a tar reaches the kernel unless `openat2` resolves it
//! inside that root.

mod walk;

pub use walk::{entry_at, walk};

use std::os::fd::OwnedFd;

use crate::whiteout::Namespace;
use crate::{Entry, Error, LayerSink, Result};

/// What to do about things a layer removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteouts {
    /// Write overlayfs's marks: the directory holds one layer.
    Overlay(Namespace),
    /// Remove them: the directory holds a tree of all layers below.
    Execute,
}

/// How to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// See there.
    pub whiteouts: Whiteouts,
    /// Whether to set owners and make devices, which needs privilege.
    pub privileged: bool,
}

/// Applies a layer to a directory. Only [`finish`](Self::finish) sets the times of directories.
pub struct Applier {
    root: OwnedFd,
    options: Options,
}

impl Applier {
    /// Starts on the directory `root`.
    pub fn new(root: OwnedFd, options: Options) -> Result<Self> {
        Ok(Self { root, options })
    }

    /// Completes the tree.
    pub fn finish(self) -> Result<()> {
        let _ = (self.root, self.options);
        Err(Error::Cancelled)
    }
}

impl LayerSink for Applier {
    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        let _ = (entry, data_offset);
        Err(Error::Cancelled)
    }
}
