//! A layer is a whole tree, copied from its parent (with its blocks shared where the filesystem can). The driver to read first, and the one that works everywhere.

use std::io::Read;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use strata_layer::diff::{Change, pack_trees, tree_changes};
use strata_layer::dir::{Applier, Options, Power, Whiteouts, walk};
use strata_layer::pipeline::{Pack, Packer};
use strata_layer::tar::Limits;
use strata_layer::{LayerSink as _, Unpacked};
use strata_sys::durable;
use strata_types::Watch;
use strata_types::mount::{Access, Mount};

use super::overlay::{FILES, look, open_dir, play, record};
use super::{Driver, DriverName, Model, Source, Stack};
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Vfs;

impl Driver for Vfs {
    fn name(&self) -> DriverName {
        DriverName::Vfs
    }

    fn model(&self) -> Model {
        Model::Tree
    }

    fn fill(&self, layer: &Path, below: &[PathBuf], source: Source<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        copy_top(below, &layer.join(FILES))?;
        let Source { tar, shares } = source;
        record(layer, Whiteouts::Execute, shares, |sink| strata_layer::unpack(tar, sink, &Limits::GENEROUS, watch))
    }

    fn pack(&self, layer: &Path, below: &[PathBuf], container: &Path, watch: &dyn Watch) -> Result<Unpacked> {
        copy_top(below, &layer.join(FILES))?;
        let old = below.last().map(|top| open_dir(&top.join(FILES))).transpose()?;
        let new = open_dir(&container.join(FILES))?;
        record(layer, Whiteouts::Execute, None, |sink| {
            let mut packer = Packer::new(sink);
            pack_trees(old.as_ref().map(|old| old.as_fd()), new.as_fd(), &mut packer, watch)?;
            packer.finish()
        })
    }

    fn hand_over(&self, below: &[PathBuf], container: &Path, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
        let old = below.last().map(|top| open_dir(&top.join(FILES))).transpose()?;
        let new = open_dir(&container.join(FILES))?;
        Ok(pack_trees(old.as_ref().map(|old| old.as_fd()), new.as_fd(), to, watch)?)
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        play(layer)
    }

    fn look(&self, layer: &Path) -> Result<Option<String>> {
        look(layer)
    }

    fn prepare(&self, container: &Path, layers: &[PathBuf]) -> Result<()> {
        copy_top(layers, &container.join(FILES))
    }

    fn mount(&self, stack: &Stack<'_>, _access: Access) -> Result<Mount> {
        let holder = stack.container.or_else(|| stack.layers.last().map(PathBuf::as_path));
        Ok(Mount::Dir(holder.map_or_else(|| stack.empty.to_owned(), |holder| holder.join(FILES))))
    }

    fn changes(&self, container: &Path, layers: &[PathBuf]) -> Result<Vec<Change>> {
        let new = open_dir(&container.join(FILES))?;
        let Some(top) = layers.last() else { return Ok(Vec::new()) };
        Ok(tree_changes(open_dir(&top.join(FILES))?.as_fd(), new.as_fd())?)
    }

    fn parts(&self) -> &'static [&'static str] {
        &[FILES]
    }
}

/// Copies the tree of the uppermost layer to a new directory; makes an empty one if there is no layer.
fn copy_top(layers: &[PathBuf], to: &Path) -> Result<()> {
    durable::create_dirs(to, 0o755)?;
    let Some(top) = layers.last() else { return Ok(()) };
    copy_tree(open_dir(&top.join(FILES))?.as_fd(), to)
}

/// Copies everything below `from`, and its own mode and owner, to the empty directory `to`.
pub(crate) fn copy_tree(from: BorrowedFd<'_>, to: &Path) -> Result<()> {
    let mut applier = Applier::new(open_dir(to)?, Options { whiteouts: Whiteouts::Execute, power: Power::here() })?;
    walk(from, &mut |entry, file| {
        applier.entry(entry, 0)?;
        if let (true, Some(file)) = (entry.is_file(), file) {
            copy_content(file, &mut applier)?;
        }
        Ok(())
    })?;
    applier.finish()?;
    copy_root_attributes(from, to)
}

fn copy_content(file: BorrowedFd<'_>, applier: &mut Applier) -> strata_layer::Result<()> {
    if applier.share_whole(file)? {
        return applier.end();
    }
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let read = rustix::io::pread(file, &mut buffer, offset)
            .map_err(|error| strata_layer::Error::io("read a file of the layer below")(error.into()))?;
        if read == 0 {
            return applier.end();
        }
        applier.data(offset, &buffer[..read])?;
        offset += read as u64;
    }
}

/// How much is copied at once.
const COPY_BYTES: usize = 256 << 10;

/// The walk leaves out the root itself.
fn copy_root_attributes(from: BorrowedFd<'_>, to: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(from).map_err(Error::at("look at the layer below", to))?;
    let root = open_dir(to)?;
    rustix::fs::fchmod(&root, rustix::fs::Mode::from_raw_mode(stat.st_mode))
        .map_err(Error::at("set the mode of", to))?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(&root, Some(uid), Some(gid)).map_err(Error::at("set the owner of", to))
}
