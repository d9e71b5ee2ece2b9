//! What a layer has elsewhere.

use std::io::{self, Read, Write};
use std::ops::Range;

use super::whole_blocks;
use crate::{Error, Result};

const MAGIC: &[u8; 16] = b"strata borrowed2";
/// In lists of the first version each part was the content of one file. They say the same.
const MAGIC_OF_CONTENTS: &[u8; 16] = b"strata borrowed1";
const RECORD_BYTES: usize = 8 + 8 + 2 + 8;
/// How large a list may be: parts have four blocks at least, so that this is a layer of more than a terabyte.
const LIST_BYTES_MAX: u64 = 2 << 30;

/// A part of a tar that lies elsewhere: pieces that follow one another in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    /// Where it belongs in the layer's tar.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// In which tar it is: 0 is the layer's own.
    pub tar: u16,
    /// Where in that.
    pub at: u64,
}

impl Loan {
    /// Whether it is about the byte at `offset` of the layer's tar.
    pub fn covers(&self, offset: u64) -> bool {
        (self.offset..self.end()).contains(&offset)
    }

    /// Where it ends in the layer's tar.
    fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// All that a layer has elsewhere, in the order of its tar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Borrowed(Vec<Loan>);

impl Borrowed {
    /// Takes loans in the order of the tar.
    pub fn new(loans: Vec<Loan>) -> Self {
        Self(loans)
    }

    /// Leaves out what would give less room than this in one place.
    #[must_use]
    pub fn without_small_holes(self, bytes_min: u64) -> Self {
        let is_large = |group: &&[Loan]| hole(group).end - hole(group).start >= bytes_min;
        Self(groups(&self.0).filter(is_large).flatten().copied().collect())
    }

    /// What the layer's own tar does not keep: of parts beside each other, the whole blocks of all of them together.
    pub fn holes(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        groups(&self.0).map(hole).filter(|hole| !hole.is_empty())
    }

    /// How much that is.
    pub fn saved_bytes(&self) -> u64 {
        self.holes().map(|hole| hole.end - hole.start).sum()
    }

    /// Them.
    pub fn loans(&self) -> &[Loan] {
        &self.0
    }

    /// The one that is about the byte at `offset` of the layer's tar.
    pub fn at(&self, offset: u64) -> Option<&Loan> {
        let after = self.0.partition_point(|loan| loan.offset <= offset);
        self.0[..after].last().filter(|loan| loan.covers(offset))
    }

    /// In which tar the byte at `offset` of the layer's tar is, and where.
    pub fn place(&self, offset: u64) -> Option<(u16, u64)> {
        self.at(offset).map(|loan| (loan.tar, loan.at + (offset - loan.offset)))
    }

    /// Writes the list as a file.
    pub fn write(&self, target: &mut dyn Write) -> Result<()> {
        const WRITE: fn(io::Error) -> Error = |source| Error::Io { act: "write what the layer borrows", source };
        target.write_all(MAGIC).map_err(WRITE)?;
        let mut out = zstd::stream::write::Encoder::new(target, 0).map_err(WRITE)?;
        out.include_checksum(true).map_err(WRITE)?;
        for Loan { offset, bytes, tar, at } in &self.0 {
            let record = [&offset.to_le_bytes()[..], &bytes.to_le_bytes(), &tar.to_le_bytes(), &at.to_le_bytes()];
            out.write_all(&record.concat()).map_err(WRITE)?;
        }
        out.finish().map(drop).map_err(WRITE)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(mut source: impl Read) -> Result<Self> {
        const READ: fn(io::Error) -> Error = |source| Error::Io { act: "read what the layer borrows", source };
        let damaged = |problem| Error::Damaged { what: "list of what a layer borrows", problem };
        let mut magic = [0; MAGIC.len()];
        source.read_exact(&mut magic).map_err(READ)?;
        if magic != *MAGIC && magic != *MAGIC_OF_CONTENTS {
            return Err(damaged("it is not of this version"));
        }
        let mut bytes = Vec::new();
        let records = zstd::stream::read::Decoder::new(source).map_err(READ)?;
        records.take(LIST_BYTES_MAX).read_to_end(&mut bytes).map_err(READ)?;
        if !bytes.len().is_multiple_of(RECORD_BYTES) {
            return Err(damaged("it is cut off"));
        }
        let mut loans: Vec<Loan> = Vec::with_capacity(bytes.len() / RECORD_BYTES);
        for record in bytes.chunks_exact(RECORD_BYTES) {
            let number =
                |range: Range<usize>| record[range].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
            let loan =
                Loan { offset: number(0..8), bytes: number(8..16), tar: number(16..18) as u16, at: number(18..26) };
            let end = loan.offset.checked_add(loan.bytes).and(loan.at.checked_add(loan.bytes));
            let follows = loans.last().is_none_or(|last| last.end() <= loan.offset);
            if end.is_none() || !follows {
                return Err(damaged("its parts overlap"));
            }
            loans.push(loan);
        }
        Ok(Self(loans))
    }
}

/// Loans that are beside each other in the layer's tar.
fn groups(loans: &[Loan]) -> impl Iterator<Item = &[Loan]> {
    loans.chunk_by(|one, next| one.end() == next.offset)
}

fn hole(group: &[Loan]) -> Range<u64> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return 0..0 };
    whole_blocks(first.offset, last.end() - first.offset)
}
