//! Layers of Windows images. A layer is its tar, read once to be refused where Windows would refuse it. Nothing here can be
//! mounted: the tree is made by Windows alone. So this driver is no store's; it keeps such layers beside the store's own.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use strata_layer::diff::Change;
use strata_layer::pipeline::Pack;
use strata_layer::tar::Limits;
use strata_layer::{Unpacked, windows};
use strata_sys::durable::{self, Durability};
use strata_types::Watch;
use strata_types::mount::{Access, Mount};

use super::{Changes, Driver, DriverName, Model, Source, Stack};
use crate::import::TarFile;
use crate::{Error, Result};

/// A layer's directory: `tar`, whose digest is the diff id, and `bytes`, how long it is, as a decimal number.
#[derive(Debug)]
pub(crate) struct WindowsFilter;

const TAR: &str = "tar";
const BYTES: &str = "bytes";

/// Why it is no store's driver.
pub(super) const REASON: &str = "it keeps the layers of Windows images, beside whatever driver the store has";

impl Driver for WindowsFilter {
    fn name(&self) -> DriverName {
        DriverName::WindowsFilter
    }

    fn model(&self) -> Model {
        Model::Diff
    }

    fn fill(&self, layer: &Path, _below: &[PathBuf], source: Source<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        let path = layer.join(TAR);
        let mut sink = (TarFile::create(&path, source.shares.as_ref())?, windows::Checker::default());
        let unpacked = strata_layer::unpack(source.tar, &mut sink, &Limits::GENEROUS, watch)?;
        let file = sink.0.complete()?;
        file.sync_all().map_err(Error::at("sync", &path))?;
        let bytes = unpacked.tar_bytes.to_string();
        durable::write_file(&layer.join(BYTES), bytes.as_bytes(), 0o644, Durability::Durable)?;
        Ok(unpacked)
    }

    fn pack(&self, _layer: &Path, _changes: &Changes<'_>, _watch: &dyn Watch) -> Result<Unpacked> {
        Err(Error::Windows)
    }

    fn hand_over(&self, _below: &[PathBuf], _from: &Path, _to: &mut dyn Pack, _watch: &dyn Watch) -> Result<()> {
        Err(Error::Windows)
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        let path = layer.join(TAR);
        Ok(Box::new(File::open(&path).map_err(Error::at("open", &path))?))
    }

    fn look(&self, layer: &Path) -> Result<Option<String>> {
        let (path, tar) = (layer.join(BYTES), layer.join(TAR));
        let stated = std::fs::read_to_string(&path).map_err(Error::at("read", &path))?;
        let found = std::fs::metadata(&tar).map_err(Error::at("look at", &tar))?.len();
        Ok((stated != found.to_string()).then(|| "its tar is not as long as it was".to_owned()))
    }

    fn tar_bytes(&self, layer: &Path) -> Result<Option<u64>> {
        let path = layer.join(TAR);
        Ok(Some(std::fs::metadata(&path).map_err(Error::at("look at", &path))?.len()))
    }

    fn prepare(&self, _container: &Path, _layers: &[PathBuf], _size_bytes: Option<u64>) -> Result<()> {
        Err(Error::Windows)
    }

    fn mount(&self, _stack: &Stack<'_>, _access: Access) -> Result<Mount> {
        Err(Error::Windows)
    }

    fn changes(&self, _container: &Path, _layers: &[PathBuf]) -> Result<Vec<Change>> {
        Err(Error::Windows)
    }

    fn parts(&self) -> &'static [&'static str] {
        &[]
    }
}
