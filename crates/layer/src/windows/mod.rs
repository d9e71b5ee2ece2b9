//! Layers of Windows images: the same tar, with Windows' metadata in PAX records and other rules for names.
//!
//! ```text
//! Files/…              the tree; C:\ in the container
//! Hives/…              registry hives as differences to those of the layer below
//! UtilityVM/Files/…    the small machine for Hyper-V isolation; in base layers
//! NAME:STREAM          an alternate data stream of the entry before it
//! .wh.NAME             NAME is gone; there are no opaque directories
//! ```
//!
//! | record | what it holds |
//! |---|---|
//! | `MSWINDOWS.fileattr` | file attributes, decimal |
//! | `MSWINDOWS.rawsd` | the security descriptor, self-relative, base64 |
//! | `MSWINDOWS.sd` | the same in SDDL, in old layers |
//! | `MSWINDOWS.mountpoint` | on a symbolic link: it is a junction |
//! | `MSWINDOWS.xattr.NAME` | an extended attribute, base64 |
//! | `LIBARCHIVE.creationtime` | when the file was made |
//!
//! Source: what hcsshim's `ociwclayer` and go-winio's `backuptar` read and write. Nothing here applies a layer: only Windows
//! can. It is read to be refused when Windows would refuse it, or take it for something else.

mod check;
mod metadata;
mod security;

pub use check::Checker;
