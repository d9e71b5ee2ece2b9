//! What changed: an overlay's upper directory, or the difference of two trees or images, as entries of a layer or as a list.

mod aufs;
mod catalog;
mod trees;
mod upper;

pub use aufs::{branch_changes, pack_branch};
pub use catalog::Catalog;
pub use trees::{pack_trees, tree_changes};
pub use upper::{pack_upper, upper_changes};

use crate::{Entry, LayerPath, Result};

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
