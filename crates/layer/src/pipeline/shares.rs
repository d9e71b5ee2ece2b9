//! Content of a tar that lies in a file of its own, whose blocks can be shared.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

/// Pieces of a tar, by where they begin, and where they are in a file that nobody changes.
#[derive(Clone, Debug)]
pub struct Shares {
    file: Arc<File>,
    pieces: Arc<BTreeMap<u64, Piece>>,
}

/// One piece: the whole content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

impl Shares {
    pub(super) fn new(file: Arc<File>, pieces: BTreeMap<u64, Piece>) -> Self {
        Self { file, pieces: Arc::new(pieces) }
    }

    /// The file.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The piece that begins at `position` in the tar.
    pub fn at(&self, position: u64) -> Option<Piece> {
        self.pieces.get(&position).copied()
    }

    /// All of them, with where they begin in the tar, in its order.
    pub fn all(&self) -> impl Iterator<Item = (u64, Piece)> + '_ {
        self.pieces.iter().map(|(position, piece)| (*position, *piece))
    }
}
