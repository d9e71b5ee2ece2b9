//! What a tar has that others may have, too.
//!
//! A tar is cut into pieces: the content of each large file is one, and so is each run of what lies between those: headers,
//! small files, padding. Long runs are cut further, behind entries whose names say so, so that tars that have the same
//! entries beside each other are cut there in the same places, whatever comes before and after.

use std::io::{self, Write};

use super::{BLOCK_BYTES, HOLE_BYTES_MIN};
use crate::tar::BLOCK_BYTES as TAR_BLOCK_BYTES;
use crate::{Entry, Error, LayerSink, Result};

const MAGIC: &[u8] = b"strata contents1";
const RECORD_BYTES: usize = 32 + 8 + 8;
const SUM_BYTES: usize = 32;
/// Content of smaller files is not a piece by itself: most files are small, and most of those lie beside each other.
const CONTENT_BYTES_MIN: u64 = HOLE_BYTES_MIN;
/// A run is not cut before it has so many bytes: shorter ones alone would give no room.
const RUN_BYTES_MIN: u64 = HOLE_BYTES_MIN;
/// A run is cut when it has so many bytes: a change in it costs as much.
const RUN_BYTES_MAX: u64 = 32 * BLOCK_BYTES;
/// Of so many names, one says that a run is cut behind it. Entries of runs have 2 to 3 KB on average, so that runs have 25.
const NAMES_PER_CUT: u64 = 4;
/// How many pieces of one layer are remembered: 48 MB of digests.
const PIECES_MAX: usize = 1 << 20;
/// Small pieces are collected and digested at once: BLAKE3 is several times as fast with many of its chunks of 1 KiB.
const TOGETHER_BYTES: usize = 64 << 10;

/// The digest of a piece.
pub type PieceDigest = [u8; 32];

/// A piece of a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The digest of its bytes.
    pub digest: PieceDigest,
    /// Where it begins in the tar.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Collects the pieces of a layer as it passes.
#[derive(Debug, Default)]
pub struct Contents {
    found: Vec<Piece>,
    /// How much of the tar has passed.
    position: u64,
    /// Where the current piece begins.
    start: u64,
    /// How long it will be, if it is the content of a file.
    content: Option<u64>,
    /// Where the last entry ends, if that is to come, and whether its name says that a run is cut there.
    boundary: Option<(u64, bool)>,
    hasher: Box<blake3::Hasher>,
    /// What of the piece is not digested yet.
    together: Vec<u8>,
}

impl Contents {
    /// What was found, in the order of the tar: all of it, but for what was beyond the limit.
    pub fn into_found(mut self) -> Vec<Piece> {
        self.cut();
        self.found
    }

    /// Writes pieces as a file.
    pub fn write(pieces: impl Iterator<Item = Piece>, target: &mut dyn Write) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for piece in pieces {
            bytes.extend_from_slice(&piece.digest);
            bytes.extend_from_slice(&piece.offset.to_le_bytes());
            bytes.extend_from_slice(&piece.bytes.to_le_bytes());
        }
        let sum = blake3::hash(&bytes);
        target.write_all(&bytes)?;
        target.write_all(sum.as_bytes())
    }

    /// Reads such a file; nothing if it is torn.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = Piece> + '_ {
        let (records, sum) = bytes.split_at(bytes.len().saturating_sub(SUM_BYTES));
        let is_whole = blake3::hash(records).as_bytes() == sum;
        let records = records.strip_prefix(MAGIC).filter(|_| is_whole).unwrap_or_default();
        records.chunks_exact(RECORD_BYTES).map(|record| {
            let number =
                |at: usize| record[at..at + 8].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
            let mut digest = [0; 32];
            digest.copy_from_slice(&record[..32]);
            Piece { digest, offset: number(32), bytes: number(40) }
        })
    }

    /// Takes the next bytes of the tar, and cuts where the last entry ends, if it is to be cut there.
    fn take(&mut self, mut bytes: &[u8]) {
        if let Some((end, named)) = self.boundary {
            let before = usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX);
            if before <= bytes.len() {
                let (last, next) = bytes.split_at(before);
                self.digest(last);
                self.at_boundary(named);
                bytes = next;
            }
        }
        self.digest(bytes);
    }

    fn digest(&mut self, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        if self.together.len() + bytes.len() > TOGETHER_BYTES {
            self.hasher.update(&self.together);
            self.together.clear();
        }
        if bytes.len() > TOGETHER_BYTES {
            self.hasher.update(bytes);
        } else {
            self.together.extend_from_slice(bytes);
        }
    }

    fn at_boundary(&mut self, named: bool) {
        self.boundary = None;
        let bytes = self.position - self.start;
        if bytes >= RUN_BYTES_MAX || named && bytes >= RUN_BYTES_MIN {
            self.cut();
        }
    }

    /// Ends the current piece.
    fn cut(&mut self) {
        let (offset, bytes) = (self.start, self.position - self.start);
        self.start = self.position;
        if bytes == 0 {
            return;
        }
        let digest = if bytes == self.together.len() as u64 {
            blake3::hash(&self.together)
        } else {
            self.hasher.update(&self.together);
            let digest = self.hasher.finalize();
            self.hasher.reset();
            digest
        };
        self.together.clear();
        if self.found.len() < PIECES_MAX {
            self.found.push(Piece { digest: *digest.as_bytes(), offset, bytes });
        }
    }
}

impl LayerSink for Contents {
    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        self.take(chunk);
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        debug_assert_eq!(self.position, data_offset, "a sink gets the tar in its order");
        let bytes = entry.packed_bytes();
        if bytes >= CONTENT_BYTES_MIN {
            self.cut();
            self.content = Some(bytes);
            return Ok(());
        }
        let named = says_cut(entry.path.as_bytes());
        match bytes.next_multiple_of(TAR_BLOCK_BYTES as u64) {
            0 => self.at_boundary(named),
            taken => self.boundary = Some((self.position + taken, named)),
        }
        Ok(())
    }

    fn data(&mut self, _offset: u64, chunk: &[u8]) -> Result<()> {
        self.take(chunk);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some(bytes) = self.content.take() {
            if self.position - self.start != bytes {
                return Err(Error::Damaged { what: "layer", problem: "a file is not as long as it says" });
            }
            self.cut();
        }
        Ok(())
    }
}

/// Whether a run is cut behind an entry of this name: by FNV-1a, mixed so that names that differ in their last digit are told
/// apart by the upper bits, too.
fn says_cut(name: &[u8]) -> bool {
    let hash = name
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ hash >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32).is_multiple_of(NAMES_PER_CUT)
}
