//! Filesystem changes as a stream of entries: tar in, tar out, directories, diffs, whiteouts, EROFS index.
//!
//! A layer is a tar, and its `DiffId` the digest of that tar. Everything here turns one form of a layer into another:
//!
//! ```text
//!  compressed blob ──compress──▶ tar ──pipeline::unpack──▶ LayerSink: erofs::Builder, dir::Applier, recipe::Recorder
//!  overlay upper, two trees ──diff──▶ entries ──pipeline::Packer──▶ tar bytes and the same LayerSink
//! ```
//!
//! Nothing here trusts a tar: names are parsed into [`LayerPath`] at the edge, every size has a named limit, and a
//! directory is only ever touched through descriptors below its root.

mod attribute;
#[cfg(test)]
mod collect;
pub mod compress;
pub mod diff;
pub mod dir;
mod entry;
pub mod erofs;
mod error;
pub mod lending;
mod path;
pub mod pipeline;
pub mod recipe;
mod sink;
pub mod tar;
pub mod whiteout;
pub mod windows;

pub use entry::{Device, Entry, Extent, Kind, Time, Vendor, Xattr};
pub use error::{Error, Result};
pub use path::{DEPTH_MAX, LayerPath, NAME_BYTES_MAX, PATH_BYTES_MAX, PathProblem};
pub use pipeline::{Unpacked, unpack};
pub use sink::LayerSink;
