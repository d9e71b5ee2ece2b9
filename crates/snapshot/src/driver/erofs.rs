//! A layer is its tar and an EROFS index of it (docs/decisions/0002).

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use strata_layer::diff::{Change, upper_changes};
use strata_layer::dir::Whiteouts;
use strata_layer::erofs::{Builder, Image, Reader};
use strata_layer::lending::Contents;
use strata_layer::pipeline::{Pack, Shares};
use strata_layer::tar::Limits;
use strata_layer::whiteout::Namespace;
use strata_layer::{Entry, Kind, LayerPath, LayerSink, Unpacked};
use strata_sys::project::Projects;
use strata_sys::{durable, user_namespace};
use strata_types::mount::{Access, Mount, Union};
use strata_types::{Watch, plain};

use super::{Changes, Driver, DriverName, Model, Source, Stack, no_projects, tidy, upper};
use crate::import::TarFile;
use crate::{Error, Result};

mod index;
mod leaving;
mod lending;
mod runs;

pub(crate) use leaving::Leaving;

/// Both, and limits of what containers hold.
#[derive(Debug)]
pub(super) struct Erofs {
    /// Those of containers.
    pub(super) projects: Projects,
}

const TAR: &str = "tar";
const INDEX: &str = "index.erofs";

impl Driver for Erofs {
    fn name(&self) -> DriverName {
        DriverName::Erofs
    }

    fn model(&self) -> Model {
        Model::Diff
    }

    fn fill(&self, layer: &Path, _below: &[PathBuf], source: Source<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        let Source { tar, shares } = source;
        let unpacked = write(layer, shares.as_ref(), |sink| strata_layer::unpack(tar, sink, &Limits::GENEROUS, watch))?;
        seal_both(layer).map(|()| unpacked)
    }

    fn pack(&self, layer: &Path, changes: &Changes<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        let below = Below::new(changes.below);
        let unpacked = write(layer, None, |sink| upper::pack(changes, &|path| below.lookup(path), sink, watch))?;
        seal_both(layer).map(|()| unpacked)
    }

    fn hand_over(&self, below: &[PathBuf], container: &Path, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
        let below = Below::new(below);
        upper::hand_over(container, &|path| below.lookup(path), to, watch)
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(lending::whole(layer)?))
    }

    /// The index is a function of the tar: it is made again and compared. So are those of runs of layers, which are looked
    /// at with their lowest layer.
    fn verify(&self, layer: &Path, derived: &Path, watch: &dyn Watch) -> Result<Option<String>> {
        for name in runs::verify(layer, derived)? {
            tracing::warn!(name, "the index of a run of layers was damaged; it is made again when it is needed");
        }
        let mut sink = (Builder::new(Namespace::Trusted), Contents::default());
        strata_layer::unpack(&mut *self.tar(layer)?, &mut sink, &Limits::GENEROUS, watch)?;
        let (builder, contents) = sink;
        lending::mend_contents(layer, &contents.into_found())?;
        let mut expected = Vec::new();
        finish(builder, layer)?.write_to(&mut expected)?;
        let mut there = Vec::new();
        let read = index::open(layer)?.read_to_end(&mut there);
        read.map_err(Error::at("read", &layer.join(INDEX)))?;
        index::tidy(layer)?;
        Ok((there != expected).then(|| "its index does not describe its tar".to_owned()))
    }

    fn look(&self, layer: &Path) -> Result<Option<String>> {
        let index = reader(layer)?;
        index.walk(&mut |node| index.pieces(node).map(drop))?;
        let tars = lending::lengths(&lending::tars(layer)?)?;
        lending::borrowed(layer)?;
        Ok((!index.fits(&tars)).then(|| "its tar is not as long as its index says".to_owned()))
    }

    fn tar_bytes(&self, layer: &Path) -> Result<Option<u64>> {
        let path = layer.join(TAR);
        Ok(Some(std::fs::metadata(&path).map_err(Error::at("look at", &path))?.len()))
    }

    fn prepare(&self, container: &Path, _layers: &[PathBuf], size_bytes: Option<u64>) -> Result<()> {
        upper::prepare(container, size_bytes.map(|bytes| (&self.projects, bytes)))
    }

    fn no_limit(&self, home: &Path) -> Result<Option<String>> {
        no_projects(home)
    }

    fn mount(&self, stack: &Stack<'_>, access: Access) -> Result<Mount> {
        let mounts = runs::mounts(seen(stack.layers)?, stack.derived)?;
        Ok(upper::mount(Union::Overlay, mounts.into_iter(), stack, access))
    }

    fn leaving(&self, layer: &Path, derived: &Path) -> Result<Option<Leaving>> {
        leaving::leaving(layer, &runs::with(layer, derived)?)
    }

    fn reclaim(&self, home: &Path, leaving: &Leaving) -> Result<()> {
        leaving::reclaim(home, leaving)
    }

    fn of_others(&self, layer: &Path) -> Option<PathBuf> {
        Some(layer.join(lending::LENDERS))
    }

    fn kept_of_the_gone(&self, layer: &Path) -> Result<u64> {
        leaving::kept_of_the_gone(layer)
    }

    fn discard_derived(&self, layer: &Path, derived: &Path) -> Result<Vec<String>> {
        runs::remove(layer, derived)
    }

    fn changes(&self, container: &Path, layers: &[PathBuf]) -> Result<Vec<Change>> {
        let below = Below::new(layers);
        Ok(upper_changes(upper::open(container)?.as_ref(), &|path| below.lookup(path))?)
    }

    fn refill(&self, container: &Path) -> Result<Option<(OwnedFd, Whiteouts)>> {
        Ok(Some((upper::open(container)?.into_fd(), Whiteouts::Overlay(Namespace::Trusted))))
    }

    fn tidy(&self) -> Result<()> {
        tidy(&self.projects)
    }

    fn parts(&self) -> &'static [&'static str] {
        upper::PARTS
    }
}

/// Those of a stack's layers (lowest first) of which anything is seen: one may hide all that is below its root.
fn seen(layers: &[PathBuf]) -> Result<&[PathBuf]> {
    for (number, layer) in layers.iter().enumerate().skip(1).rev() {
        if reader(layer)?.root_is_opaque(Namespace::Trusted)? {
            return Ok(&layers[number..]);
        }
    }
    Ok(layers)
}

fn image(layer: &Path) -> Result<Mount> {
    Ok(Mount::Image { fs: "erofs".to_owned(), image: index::unpacked(layer)?, devices: lending::tars(layer)? })
}

/// Lays out the index of a layer whose tar is there, and what it borrows.
fn finish(builder: Builder, layer: &Path) -> Result<Image> {
    let tars = lending::lengths(&lending::tars(layer)?)?;
    Ok(builder.finish_borrowing(&tars, &lending::borrowed(layer)?)?)
}

/// Writes both files of a layer while `produce` hands its tar to the sink.
fn write(
    layer: &Path,
    shares: Option<&Shares>,
    produce: impl FnOnce(&mut dyn LayerSink) -> strata_layer::Result<Unpacked>,
) -> Result<Unpacked> {
    let tar = TarFile::create(&layer.join(TAR), shares)?;
    let mut sink = ((tar, Builder::new(Namespace::Trusted)), Contents::default());
    let unpacked = produce(&mut sink)?;
    let ((tar, builder), contents) = sink;
    let tar = tar.complete()?;
    // What shares its blocks with a container's files costs nothing already.
    let found = if shares.is_none() { contents.into_found() } else { Vec::new() };
    let borrowed = lending::borrow(layer, &found)?;
    let tars = lending::lengths(&lending::tars(layer)?)?;
    let own_bytes = unpacked.tar_bytes - borrowed.saved_bytes();
    let (path, index) = index::write(layer, &builder.finish_borrowing(&tars, &borrowed)?, own_bytes)?;
    // Both are on their way before either is waited for: a journal then takes them in one commit.
    let begun = index.metadata().and_then(|metadata| durable::start_writing(&index, 0, metadata.len()));
    begun.map_err(Error::at("write", &path))?;
    tar.sync_data().map_err(Error::at("sync", &layer.join(TAR)))?;
    index.sync_data().map_err(Error::at("sync", &path))?;
    Ok(unpacked)
}

fn seal_both(layer: &Path) -> Result<()> {
    seal(&layer.join(TAR))?;
    index::seal(layer)
}

/// Has the kernel compare each block of a layer's file with a digest whenever it is read, where the filesystem can (docs/
/// decisions/0009). The file is complete, synced and closed; that it is sealed becomes durable with its name.
fn seal(path: &Path) -> Result<()> {
    match strata_sys::verity::seal(path) {
        Ok(_may_be_unable) => Ok(()),
        // Somebody forked while it was open for writing, and goes on as a copy of us.
        Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
            tracing::warn!(path = %path.display(), "a layer's file is busy and stays unsealed");
            Ok(())
        }
        Err(error) => Err(Error::at("seal", path)(error)),
    }
}

fn reader(layer: &Path) -> Result<Reader> {
    Ok(Reader::open(index::open(layer)?)?)
}

/// The layers below a container's own. An index is opened when it is first asked: most questions are about directories that
/// one of the uppermost layers has.
struct Below<'a> {
    /// The uppermost first.
    layers: Vec<(&'a Path, OnceCell<Reader>)>,
}

impl<'a> Below<'a> {
    /// Those in the directories `layers`, the lowest first.
    fn new(layers: &'a [PathBuf]) -> Self {
        Self { layers: layers.iter().rev().map(|layer| (layer.as_path(), OnceCell::new())).collect() }
    }

    /// What they show at a path: a whiteout or an opaque directory hides what is further below.
    fn lookup(&self, path: &LayerPath) -> strata_layer::Result<Option<Entry>> {
        for (layer, reader) in &self.layers {
            let index = match reader.get() {
                Some(index) => index,
                None => {
                    let opened = self::reader(layer).map_err(|error| {
                        strata_layer::Error::io("open the index of a layer")(std::io::Error::other(error))
                    })?;
                    reader.get_or_init(|| opened)
                }
            };
            if let Some(node) = index.lookup(path)? {
                let hidden = matches!(node.entry.kind, Kind::Char(device) if device.major == 0 && device.minor == 0);
                return Ok((!hidden).then_some(node.entry));
            }
            if hides(index, path)? {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// Whether a layer that has nothing at `path` hides what lower layers have there, by what it has above it.
fn hides(layer: &Reader, path: &LayerPath) -> strata_layer::Result<bool> {
    let mut above = path.parent();
    while let Some(dir) = above {
        if let Some(node) = layer.lookup(&dir)? {
            let opaque = node.entry.xattr(b"trusted.overlay.opaque") == Some(b"y");
            return Ok(opaque || !node.entry.is_dir() || ancestors_hide(layer, &dir)?);
        }
        above = dir.parent();
    }
    Ok(false)
}

fn ancestors_hide(layer: &Reader, dir: &LayerPath) -> strata_layer::Result<bool> {
    let Some(above) = dir.parent() else { return Ok(false) };
    let opaque = layer.lookup(&above)?.is_some_and(|node| node.entry.xattr(b"trusted.overlay.opaque") == Some(b"y"));
    Ok(opaque || ancestors_hide(layer, &above)?)
}

/// Writes a tiny layer and mounts it from its file.
pub(super) fn probe(scratch: &Path) -> Result<(), String> {
    strata_sys::probe::overlay_lower_by_lower()
        .map_err(|error| format!("overlayfs takes no `lowerdir+`: {}", plain(&error)))?;
    let image = Builder::new(Namespace::Trusted).finish(0).map_err(|error| plain(&error))?;
    let path = scratch.join(INDEX);
    let mut file = File::create(&path).map_err(|error| plain(&error))?;
    image.write_to(&mut file).map_err(|error| plain(&error))?;
    File::create(scratch.join(TAR)).map_err(|error| plain(&error))?;
    let tried = strata_sys::probe::erofs_from_file(&path, &scratch.join(TAR));
    tried.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied if !user_namespace::is_initial() => {
            "EROFS images are for the machine's root to mount".to_owned()
        }
        _ => format!("the kernel mounts no EROFS image from a file (Linux 6.12): {}", plain(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_opened_only_when_what_is_above_it_does_not_answer() {
        let dir = tempfile::tempdir().unwrap();
        let layers = ["lower", "upper"].map(|name| dir.path().join(name));
        std::fs::create_dir(&layers[1]).unwrap();
        let mut file = File::create(layers[1].join(INDEX)).unwrap();
        Builder::new(Namespace::Trusted).finish(0).unwrap().write_to(&mut file).unwrap();
        // Of the lower one there is nothing to be opened.
        let below = Below::new(&layers);
        assert!(below.lookup(&LayerPath::root()).unwrap().is_some_and(|entry| entry.is_dir()));
        assert!(below.lookup(&LayerPath::parse(b"etc").unwrap()).is_err());
    }
}
