//! A layer that is a directory of files, with a recipe for its exact tar.
//!
//! ```text
//! layers/<driver>/<id>/
//!   fs/      the files, with the marks that the driver's union reads; not of those that keep them elsewhere
//!   recipe   what else the tar had
//! ```

use std::fs::File;
use std::io::{BufWriter, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use strata_layer::dir::{Applier, Options, Power, Whiteouts};
use strata_layer::pipeline::Shares;
use strata_layer::recipe::{Player, Recorder};
use strata_layer::tar::Limits;
use strata_layer::{LayerSink, Unpacked};
use strata_sys::durable;
use strata_types::Watch;

use super::Source;
use crate::{Error, Result};

/// Where the files are.
pub(crate) const FILES: &str = "fs";
const RECIPE: &str = "recipe";

/// Makes the directory of a new layer's files, and opens it.
pub(super) fn make(layer: &Path) -> Result<OwnedFd> {
    durable::create_dirs(&layer.join(FILES), 0o755)?;
    open(layer)
}

/// Opens that of a layer.
pub(super) fn open(layer: &Path) -> Result<OwnedFd> {
    open_dir(&layer.join(FILES))
}

/// The directories of layers (lowest first), the uppermost first.
pub(super) fn roots(layers: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    layers.iter().rev().map(|layer| open(layer)).collect()
}

/// Puts a tar's files below `root` and keeps its recipe; all is synced at the end.
pub(super) fn fill(
    layer: &Path,
    root: OwnedFd,
    whiteouts: Whiteouts,
    source: Source<'_>,
    watch: &dyn Watch,
) -> Result<Unpacked> {
    let Source { tar, shares } = source;
    record(layer, root, whiteouts, shares, |sink| strata_layer::unpack(tar, sink, &Limits::GENEROUS, watch))
}

/// Applies what `produce` hands over to a layer's files below `root` and keeps its recipe; all is synced at the end.
pub(super) fn record(
    layer: &Path,
    root: OwnedFd,
    whiteouts: Whiteouts,
    shares: Option<Shares>,
    produce: impl FnOnce(&mut dyn LayerSink) -> strata_layer::Result<Unpacked>,
) -> Result<Unpacked> {
    let path = layer.join(RECIPE);
    let files = root.try_clone().map_err(Error::at("open", layer))?;
    let recipe = File::create_new(&path).map_err(Error::at("create", &path))?;
    let applier = Applier::new(root, Options { whiteouts, power: Power::here() })?;
    let applier = applier.sharing(shares);
    let mut recorder = Recorder::new(applier, BufWriter::new(recipe))?;
    let unpacked = produce(&mut recorder)?;
    let recipe = recorder.finish(&unpacked.diff_id)?;
    let recipe = recipe.into_inner().map_err(|error| Error::at("write", &path)(error.into_error()))?;
    // One call for thousands of files costs less than a sync of each, and the filesystem is the store's.
    rustix::fs::syncfs(&files).map_err(Error::at("sync", layer))?;
    recipe.sync_all().map_err(Error::at("sync", &path))?;
    Ok(unpacked)
}

/// The tar again, from the recipe and the files below `root`.
pub(super) fn play(layer: &Path, root: OwnedFd) -> Result<Box<dyn Read + Send>> {
    let path = layer.join(RECIPE);
    let recipe = File::open(&path).map_err(Error::at("open", &path))?;
    Ok(Box::new(Player::new(recipe, root)?))
}

/// The recipe can be read, and all files that it names are there, below `root`.
pub(super) fn look(layer: &Path, root: OwnedFd) -> Result<Option<String>> {
    let path = layer.join(RECIPE);
    let recipe = File::open(&path).map_err(Error::at("open", &path))?;
    strata_layer::recipe::look(recipe, root)?;
    Ok(None)
}

/// Opens a directory, whatever is in it.
pub(super) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::at("open", path))
}
