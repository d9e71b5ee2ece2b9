//! What another layer has already is not stored twice: a layer borrows it (docs/decisions/0008 and 0038).
//!
//! ```text
//! contents   digests of the pieces that lie in the layer's own tar: MAGIC, then for each
//!            32 bytes BLAKE3, u64 where in the tar, u64 how long; at the end 32 bytes BLAKE3 of all before.
//!            A cache: one that is torn counts for nothing, and older ones have contents of large files only
//! borrowed   what lies elsewhere, in the order of the tar: MAGIC, then zstd with a checksum of, for each,
//!            u64 where in the layer's tar, u64 how long, u16 which tar, u64 where in that.
//!            Version 2: a part is one or several pieces; version 1: the content of one file. Both are read
//! ```
//!
//! Numbers are little-endian. Tar 0 is the layer's own, where one piece is twice in it; the others are its lenders.

mod borrowed;
mod contents;
#[cfg(test)]
mod tests;
mod whole;

pub use borrowed::{Borrowed, Loan};
pub use contents::{Contents, Piece, PieceDigest};
pub use whole::Whole;

/// What filesystems give back room in.
pub const BLOCK_BYTES: u64 = 4096;

/// Smaller holes are not made: each costs a call that the filesystem may take milliseconds for (ext4 that discards at once).
pub const HOLE_BYTES_MIN: u64 = 4 * BLOCK_BYTES;

/// The whole blocks in so many bytes from `offset` on: what a layer that borrows them need not keep.
fn whole_blocks(offset: u64, bytes: u64) -> std::ops::Range<u64> {
    let start = offset.next_multiple_of(BLOCK_BYTES);
    let end = (offset + bytes) / BLOCK_BYTES * BLOCK_BYTES;
    start..end.max(start)
}
