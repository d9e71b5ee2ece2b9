//! What changed: an overlay's upper directory, or the difference of two trees, as entries of a layer or as a list.

use std::os::fd::BorrowedFd;

use strata_types::Watch;

use crate::pipeline::Packer;
use crate::{Entry, Error, LayerPath, Result};

/// How something changed; prints as `docker diff` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// `C`
    Changed,
    /// `A`
    Added,
    /// `D`
    Deleted,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: LayerPath,
    /// How.
    pub kind: ChangeKind,
}

/// What is in the layers below at a path, if anything; hard links are the file again.
pub type Lower<'a> = dyn Fn(&LayerPath) -> Result<Option<Entry>> + 'a;

/// Packs the upper directory of an overlay as a layer: marks become whiteouts of the tar, attributes of overlayfs vanish.
pub fn pack_upper(upper: BorrowedFd<'_>, packer: &mut Packer<'_>, watch: &dyn Watch) -> Result<()> {
    let _ = (upper, packer, watch);
    Err(Error::Cancelled)
}

/// Lists what an upper directory changes, sorted by path. Directories that are there only to hold a change are left
/// out, as Docker does, unless their attributes differ from what is below.
pub fn upper_changes(upper: BorrowedFd<'_>, lower: &Lower<'_>) -> Result<Vec<Change>> {
    let _ = (upper, lower);
    Err(Error::Cancelled)
}

/// Lists how the tree `new` differs from the tree `old`, sorted by path.
pub fn tree_changes(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<Vec<Change>> {
    let _ = (old, new);
    Err(Error::Cancelled)
}

/// Packs the difference of two trees as a layer on top of `old` (`None`: of an empty tree).
pub fn pack_trees(
    old: Option<BorrowedFd<'_>>,
    new: BorrowedFd<'_>,
    packer: &mut Packer<'_>,
    watch: &dyn Watch,
) -> Result<()> {
    let _ = (old, new, packer, watch);
    Err(Error::Cancelled)
}
