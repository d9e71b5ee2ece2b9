//! Writing a layer's tar as it comes.

use std::fs::File;
use std::path::{Path, PathBuf};

use strata_layer::pipeline::Shares;
use strata_layer::{Entry, LayerSink};
use strata_sys::direct::DirectFile;
use strata_sys::reflink;

use crate::{Error, Result};

/// Takes a layer's bytes into a file. They are not read soon: the shared mounts read past the page cache, too.
#[derive(Debug)]
pub(crate) struct TarFile {
    file: DirectFile,
    path: PathBuf,
    /// How many bytes came.
    position: u64,
    /// What is there already, as beginning and end, the last first.
    shared: Vec<(u64, u64)>,
}

impl TarFile {
    /// Creates the file. What lies in another file already shares its blocks with that where the filesystem can.
    pub(crate) fn create(path: &Path, shares: Option<&Shares>) -> Result<Self> {
        let mut file = DirectFile::create(path).map_err(Error::at("create", path))?;
        let mut shared = Vec::new();
        if let Some(shares) = shares {
            for (start, piece) in shares.all() {
                let whole = piece.bytes - piece.bytes % reflink::BLOCK_BYTES;
                let done = file.share(start, shares.file(), piece.offset, whole);
                if done.map_err(Error::at("share blocks with", path))? {
                    shared.push((start, start + whole));
                }
            }
        }
        shared.reverse();
        Ok(Self { file, path: path.to_owned(), position: 0, shared })
    }

    /// Completes it; it is the caller's to sync it.
    pub(crate) fn complete(self) -> Result<File> {
        self.file.complete().map_err(Error::at("write", &self.path))
    }
}

impl LayerSink for TarFile {
    fn bytes(&mut self, mut chunk: &[u8]) -> strata_layer::Result<()> {
        while !chunk.is_empty() {
            let (start, end) = self.shared.last().copied().unwrap_or((u64::MAX, u64::MAX));
            let is_there = self.position >= start;
            let until = if is_there { end } else { start };
            let taken = usize::try_from(until - self.position).unwrap_or(usize::MAX).min(chunk.len());
            let (now, later) = chunk.split_at(taken);
            let done = if is_there { self.file.skip(taken as u64) } else { self.file.write_all(now) };
            done.map_err(strata_layer::Error::io("write the layer"))?;
            self.position += taken as u64;
            chunk = later;
            if self.position == end {
                self.shared.pop();
            }
        }
        Ok(())
    }

    fn entry(&mut self, _entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        Ok(())
    }
}
