//! A layer is a directory with marks as tars have them, and aufs shows many as one. No kernel of today has it: what can be
//! compared without one is.

use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use strata_layer::diff::{Change, branch_changes, pack_branch};
use strata_layer::dir::{Whiteouts, entry_at};
use strata_layer::pipeline::{Pack, Packer};
use strata_layer::{Entry, LayerPath, Time, Unpacked, whiteout};
use strata_types::mount::{Access, Mount, Union};
use strata_types::{Watch, plain};

use super::recorded::{self, FILES, roots};
use super::{Changes, Driver, DriverName, Model, Source, Stack, upper};
use crate::Result;

#[derive(Debug)]
pub(super) struct Aufs;

impl Driver for Aufs {
    fn name(&self) -> DriverName {
        DriverName::Aufs
    }

    fn model(&self) -> Model {
        Model::Diff
    }

    fn fill(&self, layer: &Path, _below: &[PathBuf], source: Source<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        recorded::fill(layer, recorded::make(layer)?, Whiteouts::Aufs, source, watch)
    }

    fn pack(&self, layer: &Path, changes: &Changes<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        let (roots, branch) = (roots(changes.below)?, upper::open(changes.container)?);
        recorded::record(layer, recorded::make(layer)?, Whiteouts::Aufs, None, |sink| {
            let mut packer = Packer::new(sink).newest(changes.newest);
            pack_branch(branch.as_ref(), &|path| lookup(&roots, path), &mut packer, watch)?;
            packer.finish()
        })
    }

    fn hand_over(&self, below: &[PathBuf], container: &Path, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
        let roots = roots(below)?;
        Ok(pack_branch(upper::open(container)?.as_ref(), &|path| lookup(&roots, path), to, watch)?)
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        recorded::play(layer, recorded::open(layer)?)
    }

    fn look(&self, layer: &Path) -> Result<Option<String>> {
        recorded::look(layer, recorded::open(layer)?)
    }

    fn prepare(&self, container: &Path, _layers: &[PathBuf], _size_bytes: Option<u64>) -> Result<()> {
        upper::prepare(container, None)
    }

    fn mount(&self, stack: &Stack<'_>, access: Access) -> Result<Mount> {
        let layers = stack.layers.iter().map(|layer| Mount::Dir(layer.join(FILES)));
        Ok(upper::mount(Union::Aufs, layers, stack, access))
    }

    fn changes(&self, container: &Path, layers: &[PathBuf]) -> Result<Vec<Change>> {
        let roots = roots(layers)?;
        Ok(branch_changes(upper::open(container)?.as_ref(), &|path| lookup(&roots, path))?)
    }

    fn parts(&self) -> &'static [&'static str] {
        upper::PARTS
    }
}

/// What the layers (the uppermost first) show at a path.
fn lookup(layers: &[OwnedFd], path: &LayerPath) -> strata_layer::Result<Option<Entry>> {
    for layer in layers {
        if let Some(entry) = entry_at(layer.as_fd(), path)? {
            return Ok(Some(entry));
        }
        let mut above = Some(path.clone());
        while let Some(at) = above {
            if hides(layer, &at, &at == path)? {
                return Ok(None);
            }
            above = at.parent();
        }
    }
    Ok(None)
}

/// Whether a layer hides what lower layers have at or below `path`, which it has not itself if `is_missing`.
fn hides(layer: &OwnedFd, path: &LayerPath, is_missing: bool) -> strata_layer::Result<bool> {
    let marked = |mark: Option<Entry>| match mark {
        Some(mark) => entry_at(layer.as_fd(), &mark.path).map(|found| found.is_some()),
        None => Ok(false),
    };
    if marked(whiteout::oci_file(path, Time::default())?)? {
        return Ok(true);
    }
    if is_missing {
        return Ok(false);
    }
    let is_dir = entry_at(layer.as_fd(), path)?.is_none_or(|entry| entry.is_dir());
    Ok(!is_dir || marked(Some(whiteout::oci_opaque(path, Time::default())?))?)
}

/// Asks the kernel for it.
pub(super) fn probe() -> std::result::Result<(), String> {
    strata_sys::probe::filesystem("aufs").map_err(|error| format!("the kernel has no aufs: {}", plain(&error)))
}

#[cfg(test)]
mod tests;
