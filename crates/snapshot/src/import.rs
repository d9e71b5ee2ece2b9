//! Writing a layer's tar as it comes.

use std::path::{Path, PathBuf};

use strata_layer::{Entry, LayerSink};
use strata_sys::direct::DirectFile;

use crate::{Error, Result};

/// Takes a layer's bytes into a file. They are not read soon: the shared mounts read past the page cache, too.
#[derive(Debug)]
pub(crate) struct TarFile {
    file: DirectFile,
    path: PathBuf,
}

impl TarFile {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = DirectFile::create(path).map_err(Error::at("create", path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Completes it and makes it durable.
    pub(crate) fn finish(self) -> Result<()> {
        self.file.finish().map_err(Error::at("write", &self.path))?;
        Ok(())
    }
}

impl LayerSink for TarFile {
    fn bytes(&mut self, chunk: &[u8]) -> strata_layer::Result<()> {
        self.file.write_all(chunk).map_err(strata_layer::Error::io("write the layer"))
    }

    fn entry(&mut self, _entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        Ok(())
    }
}
