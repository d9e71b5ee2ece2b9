//! A layer's tar made mountable: an EROFS image of metadata only, whose files lie in the tar.
//!
//! The image has 512-byte blocks because that is how tar aligns; the tar is the image's one extra device. Version 1:
//!
//! ```text
//! byte 0      1024           1152          4096            blocks                       device 1
//!      │ zeros │ superblock  │ device slot │ inodes, xattrs, │ directories, long links, │ the tar
//!      │       │             │             │ inline tails    │ odd pieces of files      │
//! ```
//!
//! Every inode is of the extended kind. Files are one run of blocks of the tar; files with holes are maps of chunks.
//! Whiteouts are character devices 0:0, and opaque directories have overlayfs's attribute. The same tar gives the same
//! image, byte for byte. [`merge()`] makes one image of several layers, with a device for each. Format:
//! `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h` of Linux.

mod builder;
mod dirent;
mod format;
mod holes;
mod image;
mod merge;
mod packed;
mod reader;
#[cfg(test)]
mod tests;
mod tree;

pub use builder::Builder;
pub use image::Image;
pub use merge::{Part, merge};
pub use packed::unpack_index;
pub use reader::{Content, Node, Piece, Place, Reader};
