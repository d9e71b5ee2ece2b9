//! What contents a tar has.

use std::io::{self, Write};

use crate::{Entry, Error, Kind, LayerSink, Result};

const MAGIC: &[u8] = b"strata contents1";
const RECORD_BYTES: usize = 32 + 8 + 8;
const SUM_BYTES: usize = 32;
/// Smaller files are not worth a digest: most files are, and all of them together have a few percent of the bytes.
const CONTENT_BYTES_MIN: u64 = super::HOLE_BYTES_MIN;
/// How many contents of one layer are remembered: 48 MB of digests.
const CONTENTS_MAX: usize = 1 << 20;

/// The digest of a content.
pub type ContentDigest = [u8; 32];

/// A file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its digest.
    pub digest: ContentDigest,
    /// Where it begins in the tar.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Collects the contents of a layer as it passes: those of files that are large enough, and have no holes.
#[derive(Debug, Default)]
pub struct Contents {
    found: Vec<Content>,
    current: Option<(Content, Box<blake3::Hasher>)>,
    spare: Option<Box<blake3::Hasher>>,
}

impl Contents {
    /// What was found, in the order of the tar.
    pub fn into_found(self) -> Vec<Content> {
        self.found
    }

    /// Writes contents as a file.
    pub fn write(contents: impl Iterator<Item = Content>, target: &mut dyn Write) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for content in contents {
            bytes.extend_from_slice(&content.digest);
            bytes.extend_from_slice(&content.offset.to_le_bytes());
            bytes.extend_from_slice(&content.bytes.to_le_bytes());
        }
        let sum = blake3::hash(&bytes);
        target.write_all(&bytes)?;
        target.write_all(sum.as_bytes())
    }

    /// Reads such a file; nothing if it is torn.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = Content> + '_ {
        let (records, sum) = bytes.split_at(bytes.len().saturating_sub(SUM_BYTES));
        let is_whole = blake3::hash(records).as_bytes() == sum;
        let records = records.strip_prefix(MAGIC).filter(|_| is_whole).unwrap_or_default();
        records.chunks_exact(RECORD_BYTES).map(|record| {
            let number =
                |at: usize| record[at..at + 8].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
            let mut digest = [0; 32];
            digest.copy_from_slice(&record[..32]);
            Content { digest, offset: number(32), bytes: number(40) }
        })
    }
}

impl LayerSink for Contents {
    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        self.current = match entry.kind {
            Kind::File { size_bytes: bytes, sparse: None }
                if bytes >= CONTENT_BYTES_MIN && self.found.len() < CONTENTS_MAX =>
            {
                let hasher = self.spare.take().unwrap_or_default();
                Some((Content { digest: [0; 32], offset: data_offset, bytes }, hasher))
            }
            _ => None,
        };
        Ok(())
    }

    fn data(&mut self, _offset: u64, chunk: &[u8]) -> Result<()> {
        if let Some((_, hasher)) = &mut self.current {
            hasher.update(chunk);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((mut content, mut hasher)) = self.current.take() {
            if hasher.count() != content.bytes {
                return Err(Error::Damaged { what: "layer", problem: "a file is not as long as it says" });
            }
            content.digest = *hasher.finalize().as_bytes();
            hasher.reset();
            self.spare = Some(hasher);
            self.found.push(content);
        }
        Ok(())
    }
}
