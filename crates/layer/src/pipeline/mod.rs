//! One pass over a layer, in or out.

mod capture;
mod pack;
mod shares;
#[cfg(test)]
mod tests;
mod unpack;

use strata_types::DiffId;

pub use capture::{Capture, Captured};
pub use pack::{Pack, Packer};
pub use shares::{Piece, Shares};
pub use unpack::unpack;

/// How much of a tar is handed from thread to thread at once: large enough that handing over costs nothing, small
/// enough to stay in the processor's cache. As much as a gzip member of ours has.
const CHUNK_BYTES: usize = 1 << 20;
/// How many chunks there are: what all threads together keep in memory is this times the size.
const CHUNKS: usize = 4;

/// What a layer turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub tar_bytes: u64,
    /// Bytes of content of all files together, holes left out, and of what symbolic links say.
    pub content_bytes: u64,
    /// Entries, whiteouts included.
    pub entries: u64,
}
