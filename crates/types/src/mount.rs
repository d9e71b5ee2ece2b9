//! Mount plans: what has to be mounted, as plain data. Drivers say it, `sys::assemble` does it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The extended attribute that marks an empty file or directory which was made only to mount something on it. It belongs to
/// no layer and is no change. Who makes such places sets it.
pub const PLACE_MARK: &str = "trusted.strata.place";
/// The same where privilege is lacking for that. What is in a container can set it, too, and only keeps an empty file of its
/// own out of its own layer by that; from an image it is never taken over.
pub const PLACE_MARK_OF_A_PERSON: &str = "user.strata.place";

/// Whether a tree may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Look, don't touch.
    ReadOnly,
    /// With a writable layer on top.
    ReadWrite,
}

/// How several trees become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Union {
    /// The kernel's overlay filesystem.
    Overlay,
    /// The filesystem aufs, of kernels that were patched to have it.
    Aufs,
    /// A process of ours, which the kernel asks.
    Fuse,
}

/// One tree, perhaps made of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mount {
    /// A directory as it is.
    Dir(PathBuf),
    /// A filesystem image in a file, with the further files its extents point into. Shared by all who mount the same
    /// `image`: it is mounted once per host.
    Image {
        /// The filesystem's name, such as `erofs`.
        fs: String,
        /// The file that holds the filesystem's metadata.
        image: PathBuf,
        /// Further files, in the order the metadata names them.
        devices: Vec<PathBuf>,
    },
    /// A filesystem on a thin device of a pool (`sys::thin`).
    Thin {
        /// The pool's directory.
        pool: PathBuf,
        /// The device's name.
        device: PathBuf,
        /// Nobody writes it any more, whoever mounts it.
        sealed: bool,
    },
    /// A dataset of ZFS (`sys::zfs`).
    Dataset {
        /// Its name.
        name: String,
        /// Nobody writes it any more, whoever mounts it.
        sealed: bool,
    },
    /// Several trees seen as one.
    Union {
        /// By which means.
        how: Union,
        /// Read-only trees, the uppermost first.
        lower: Vec<Mount>,
        /// Where changes go; without it the union is read-only.
        upper: Option<Upper>,
    },
}

/// The writable part of a union.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    /// Holds what changed.
    pub dir: PathBuf,
    /// Scratch space on the same filesystem, empty between mounts.
    pub work: PathBuf,
    /// Never sync: for containers that are removed when they end.
    pub volatile: bool,
}

/// What to mount to see one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// The tree.
    pub root: Mount,
    /// Whether it may be written.
    pub access: Access,
}
