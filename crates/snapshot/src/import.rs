//! Writing a layer's tar as it comes.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use strata_layer::{Entry, LayerSink};

use crate::{Error, Result};

/// Takes a layer's bytes into a file and starts writing them to the disk early, so that the sync at the end waits for
/// little.
#[derive(Debug)]
pub(crate) struct TarFile {
    file: File,
    path: PathBuf,
    written_bytes: u64,
    flushed_bytes: u64,
}

/// How much is written before the disk is asked to begin: large enough for long sequential writes.
const FLUSH_BYTES: u64 = 16 << 20;

impl TarFile {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::at("create", path))?;
        Ok(Self { file, path: path.to_owned(), written_bytes: 0, flushed_bytes: 0 })
    }

    /// Makes it durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::at("sync", &self.path))
    }
}

impl LayerSink for TarFile {
    fn bytes(&mut self, chunk: &[u8]) -> strata_layer::Result<()> {
        self.file.write_all(chunk).map_err(strata_layer::Error::io("write the layer"))?;
        self.written_bytes += chunk.len() as u64;
        let waiting = self.written_bytes - self.flushed_bytes;
        if waiting >= FLUSH_BYTES {
            strata_sys::durable::start_writing(&self.file, self.flushed_bytes, waiting)
                .map_err(strata_layer::Error::io("write the layer"))?;
            self.flushed_bytes = self.written_bytes;
        }
        Ok(())
    }

    fn entry(&mut self, _entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        Ok(())
    }
}
