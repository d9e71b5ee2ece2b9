//! Files with holes: maps of chunks.
//!
//! A chunk is a hole, or lies in one piece in the tar, or is copied into the image. The last is needed where the tar's
//! pieces are not aligned to blocks, or are so far apart that a map of small chunks would be large.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::format::{BLOCK_BITS, BLOCK_BYTES, CHUNK_BITS_MAX, CHUNK_INDEX_BYTES};
use crate::lending::Borrowed;
use crate::path::shown;
use crate::{Error, Extent, Result};

/// How many chunks one map may have: 32 MiB of index.
const CHUNKS_MAX: u64 = 1 << 22;
/// How many bytes of one file may be copied.
const COPIED_BYTES_MAX: u64 = 64 << 20;
/// The longest file Linux knows.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// The map of one file.
pub(super) struct Holes {
    pub(super) size: u64,
    /// Bytes of a chunk, as a power of two, beyond those of a block.
    pub(super) chunk_bits: u32,
    /// Chunks that are no holes.
    pub(super) chunks: BTreeMap<u64, Chunk>,
    /// Chunks that are copied, one after another.
    pub(super) copied: Vec<u8>,
}

/// Where a chunk is.
#[derive(Clone, Copy)]
pub(super) enum Chunk {
    /// At this block of this tar.
    Tar { tar: u16, block: u64 },
    /// At this byte of what is copied.
    Copied(usize),
}

impl Holes {
    /// Plans the map for a file whose `extents` follow one another in the tar from `tar_offset` on.
    pub(super) fn new(entry: &crate::Entry, size: u64, extents: &[Extent], tar_offset: u64) -> Result<Self> {
        let refuse = |what, limit| Error::Limit { entry: shown(entry.path.as_bytes()), what, limit };
        if size > FILE_BYTES_MAX {
            return Err(refuse("the size of the file", FILE_BYTES_MAX));
        }
        let mut holes = Self { size, chunk_bits: 0, chunks: BTreeMap::new(), copied: Vec::new() };
        if let Some(bits) = aligned_bits(size, extents)
            && size.div_ceil(chunk_bytes(bits)) <= CHUNKS_MAX
        {
            holes.chunk_bits = bits;
            holes.point(extents, tar_offset);
            return Ok(holes);
        }
        let bits = (0..=CHUNK_BITS_MAX).find(|&bits| size.div_ceil(chunk_bytes(bits)) <= CHUNKS_MAX / 8);
        holes.chunk_bits = bits.unwrap_or(CHUNK_BITS_MAX);
        if size.div_ceil(chunk_bytes(holes.chunk_bits)) > CHUNKS_MAX || !holes.copy(extents) {
            return Err(refuse("the data between its holes", COPIED_BYTES_MAX));
        }
        Ok(holes)
    }

    /// How many chunks there are, holes included.
    pub(super) fn count(&self) -> u64 {
        self.size.div_ceil(chunk_bytes(self.chunk_bits))
    }

    /// How much it adds to the image.
    pub(super) fn map_bytes(&self) -> u64 {
        self.count() * CHUNK_INDEX_BYTES as u64 + self.copied.len() as u64
    }

    /// Takes content for chunks that are copied.
    pub(super) fn data(&mut self, offset: u64, data: &[u8]) {
        let bytes = chunk_bytes(self.chunk_bits);
        let (mut offset, mut rest) = (offset, data);
        while !rest.is_empty() && !self.copied.is_empty() {
            let within = offset % bytes;
            let taken = rest.len().min(usize::try_from(bytes - within).unwrap_or(usize::MAX));
            if let Some(Chunk::Copied(at)) = self.chunks.get(&(offset / bytes)) {
                let at = at + within as usize;
                self.copied[at..at + taken].copy_from_slice(&rest[..taken]);
            }
            rest = &rest[taken..];
            offset += taken as u64;
        }
    }

    /// Points to where the layer's own tar has nothing, because that lies elsewhere.
    pub(super) fn borrow(&mut self, borrowed: &Borrowed) {
        for chunk in self.chunks.values_mut() {
            if let Chunk::Tar { tar, block } = chunk
                && let Some((other, at)) = borrowed.place(*block << BLOCK_BITS)
            {
                (*tar, *block) = (other, at >> BLOCK_BITS);
            }
        }
    }

    fn point(&mut self, extents: &[Extent], tar_offset: u64) {
        let bytes = chunk_bytes(self.chunk_bits);
        let mut at = tar_offset;
        for extent in extents {
            for chunk in 0..extent.length.div_ceil(bytes) {
                let block = (at + chunk * bytes) >> BLOCK_BITS;
                self.chunks.insert(extent.offset / bytes + chunk, Chunk::Tar { tar: 0, block });
            }
            at += extent.length;
        }
    }

    /// Makes room for all chunks that have data; false if there are too many.
    fn copy(&mut self, extents: &[Extent]) -> bool {
        let bytes = chunk_bytes(self.chunk_bits);
        let mut length = 0u64;
        for extent in extents {
            for chunk in extent.offset / bytes..(extent.offset + extent.length).div_ceil(bytes) {
                if let Entry::Vacant(free) = self.chunks.entry(chunk) {
                    free.insert(Chunk::Copied(length as usize));
                    length += bytes;
                }
                if length > COPIED_BYTES_MAX {
                    return false;
                }
            }
        }
        self.copied = vec![0; length as usize];
        true
    }
}

/// The largest chunks that all extents are made of, so that none needs copying.
fn aligned_bits(size: u64, extents: &[Extent]) -> Option<u32> {
    let mut bits = size.max(1).next_power_of_two().trailing_zeros().max(BLOCK_BITS.into());
    for (index, extent) in extents.iter().enumerate() {
        let at_end = index + 1 == extents.len() && extent.offset + extent.length == size;
        let odd = if at_end { extent.offset } else { extent.offset | extent.length };
        if odd != 0 {
            bits = bits.min(odd.trailing_zeros());
        }
    }
    bits.checked_sub(BLOCK_BITS.into()).map(|bits| bits.min(CHUNK_BITS_MAX))
}

pub(super) fn chunk_bytes(bits: u32) -> u64 {
    (BLOCK_BYTES as u64) << bits
}
