//! The exact tar of a layer that was applied to a directory: everything but the files' content, compressed, and the
//! places in the tree where the content is.
//!
//! A recipe is one zstd stream, version 1:
//!
//! ```text
//! "strata recipe 1\n"
//! 'F' length:u32 bytes                                        these bytes
//! 'C' path length:u16 path extents:u32 (offset:u64 length:u64)*   these pieces of the file at this path
//! 'K' file:u64 length:u64 bytes        not part of the tar: the content of that file (counting 'C's from 0), which a
//!                                      later entry of the same tar replaced
//! 'E' diff id, as text, to the end     what all of it has to digest to
//! ```
//!
//! Numbers are little-endian.

mod player;
mod recorder;
#[cfg(test)]
mod tests;

pub use player::{Player, look};
pub use recorder::Recorder;

const MAGIC: &[u8] = b"strata recipe 1\n";
const FRAMING: u8 = b'F';
const CONTENT: u8 = b'C';
const KEPT: u8 = b'K';
const END: u8 = b'E';

/// How much replaced content one recipe keeps. Tars say nothing twice but by mistake.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// How much framing goes into one record.
const FRAMING_BYTES: usize = 64 << 10;
