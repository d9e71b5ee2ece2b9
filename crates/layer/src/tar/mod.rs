//! Tar, read as a stream and written without variation.
//!
//! Read: V7, ustar, star, GNU (long names and links, base-256 numbers, old sparse files) and PAX (records of one entry
//! and global ones, SCHILY and LIBARCHIVE attributes, sparse files 0.0, 0.1 and 1.0). Where programs differ, what
//! Docker (Go's `archive/tar`) sees is what we see, because two readings of one image are a way to hide things.

mod described;
mod field;
mod header;
mod limits;
mod parser;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use pax::{base64, time};

pub use limits::Limits;
pub use parser::Parser;
pub use writer::{Times, encode, encode_aligned, end_of_archive};

/// What everything in a tar is a multiple of.
pub const BLOCK_BYTES: usize = 512;

/// How many bytes of padding follow `size` bytes of content.
pub const fn padding_bytes(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK_BYTES as u64) as usize
}
