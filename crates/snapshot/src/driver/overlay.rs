//! A layer is a directory for overlayfs, with a recipe for its exact tar. Who shows many of them as one is the kernel or a
//! process of ours (`sys::fuse`), which reads and writes the same marks.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use strata_layer::diff::{Change, upper_changes};
use strata_layer::dir::{Applier, Options, Power, Whiteouts, entry_at};
use strata_layer::pipeline::{Pack, Shares};
use strata_layer::recipe::{Player, Recorder};
use strata_layer::tar::Limits;
use strata_layer::whiteout::{Namespace, UpperMark, upper_mark};
use strata_layer::{Entry, Kind, LayerPath, LayerSink, Unpacked};
use strata_sys::durable;
use strata_sys::project::Projects;
use strata_types::Watch;
use strata_types::mount::{Access, Mount, Union};

use super::{Changes, Driver, DriverName, Model, Source, Stack, no_projects, tidy, upper};
use crate::{Error, Result};

/// Directories with overlayfs's marks.
#[derive(Debug)]
pub(super) struct Overlay {
    /// Who shows them as one.
    pub(super) how: Union,
    /// The limits of containers.
    pub(super) projects: Projects,
}

/// Where the files are.
pub(crate) const FILES: &str = "fs";
/// What else the tar had.
pub(super) const RECIPE: &str = "recipe";

/// Overlayfs takes 500 directories (`OVL_MAX_STACK`), of which the container's own, nothing and the places need some.
const LAYERS_MAX: usize = 490;

impl Driver for Overlay {
    fn name(&self) -> DriverName {
        if self.how == Union::Fuse { DriverName::Fuse } else { DriverName::Overlay }
    }

    fn model(&self) -> Model {
        Model::Diff
    }

    fn fill(&self, layer: &Path, _below: &[PathBuf], source: Source<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        durable::create_dirs(&layer.join(FILES), 0o755)?;
        let Source { tar, shares } = source;
        record(layer, open_dir(&layer.join(FILES))?, marks(), shares, |sink| {
            strata_layer::unpack(tar, sink, &Limits::GENEROUS, watch)
        })
    }

    fn pack(&self, layer: &Path, changes: &Changes<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        durable::create_dirs(&layer.join(FILES), 0o755)?;
        let roots = roots(changes.below)?;
        record(layer, open_dir(&layer.join(FILES))?, marks(), None, |sink| {
            upper::pack(changes, &|path| lookup(&roots, path), sink, watch)
        })
    }

    fn hand_over(&self, below: &[PathBuf], container: &Path, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
        let roots = roots(below)?;
        upper::hand_over(container, &|path| lookup(&roots, path), to, watch)
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        play(layer, open_dir(&layer.join(FILES))?)
    }

    fn look(&self, layer: &Path) -> Result<Option<String>> {
        look(layer, open_dir(&layer.join(FILES))?)
    }

    fn prepare(&self, container: &Path, _layers: &[PathBuf], size_bytes: Option<u64>) -> Result<()> {
        upper::prepare(container, size_bytes.map(|bytes| (&self.projects, bytes)))
    }

    fn no_limit(&self, home: &Path) -> Result<Option<String>> {
        no_projects(home)
    }

    fn mount(&self, stack: &Stack<'_>, access: Access) -> Result<Mount> {
        let layers = seen(stack.layers);
        if self.how == Union::Overlay && layers.len() > LAYERS_MAX {
            return Err(Error::TooDeep { layers: layers.len(), limit: LAYERS_MAX });
        }
        let layers = layers.iter().map(|layer| Mount::Dir(layer.join(FILES)));
        Ok(upper::mount(self.how, layers, stack, access))
    }

    fn changes(&self, container: &Path, layers: &[PathBuf]) -> Result<Vec<Change>> {
        let roots = roots(layers)?;
        Ok(upper_changes(upper::open(container)?.as_ref(), &|path| lookup(&roots, path))?)
    }

    fn refill(&self, container: &Path) -> Result<Option<(OwnedFd, Whiteouts)>> {
        Ok(Some((upper::open(container)?.into_fd(), marks())))
    }

    fn tidy(&self) -> Result<()> {
        tidy(&self.projects)
    }

    fn parts(&self) -> &'static [&'static str] {
        upper::PARTS
    }
}

/// Those of a stack's layers (lowest first) of which anything is seen: one may hide all that is below its root, and there
/// overlayfs does not look for that mark.
fn seen(layers: &[PathBuf]) -> &[PathBuf] {
    let Whiteouts::Overlay(namespace) = marks() else { return layers };
    let mark = namespace.opaque();
    let hides = |layer: &PathBuf| {
        let mut value = [0; 1];
        let found = rustix::fs::lgetxattr(layer.join(FILES), mark.name.as_slice(), &mut value[..]);
        found == Ok(mark.value.len()) && value == *mark.value
    };
    layers.iter().rposition(hides).map_or(layers, |uppermost| &layers[uppermost..])
}

/// The directories of layers (lowest first), the uppermost first.
fn roots(layers: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    layers.iter().rev().map(|layer| open_dir(&layer.join(FILES))).collect()
}

/// The marks that overlayfs will look for: in a user namespace, those that anyone may set.
fn marks() -> Whiteouts {
    let initial = strata_sys::user_namespace::is_initial();
    Whiteouts::Overlay(if initial { Namespace::Trusted } else { Namespace::User })
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

pub(super) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::at("open", path))
}

/// What the layers (the uppermost first) show at a path.
fn lookup(layers: &[OwnedFd], path: &LayerPath) -> strata_layer::Result<Option<Entry>> {
    for layer in layers {
        if let Some(entry) = entry_at(layer.as_fd(), path)? {
            let hidden = matches!(entry.kind, Kind::Char(device) if device.major == 0 && device.minor == 0);
            return Ok((!hidden).then_some(entry));
        }
        let mut above = path.parent();
        while let Some(dir) = above {
            if let Some(entry) = entry_at(layer.as_fd(), &dir)?
                && (!entry.is_dir() || upper_mark(&entry) == UpperMark::Opaque)
            {
                return Ok(None);
            }
            above = dir.parent();
        }
    }
    Ok(None)
}

/// Whether overlayfs takes an upper directory on the store's filesystem.
pub(super) fn probe(scratch: &Path) -> Result<(), String> {
    strata_sys::probe::overlay_lower_by_lower().map_err(|error| format!("overlayfs takes no `lowerdir+`: {error}"))?;
    let [below, container] = ["probe-below", "probe"].map(|name| scratch.join(name));
    let made = durable::create_dirs(&below, 0o755).map_err(Error::from).and_then(|()| upper::prepare(&container, None));
    made.map_err(|error| error.to_string())?;
    let stack = Stack {
        layers: &[],
        container: Some(&container),
        volatile: true,
        empty: &below,
        derived: &below,
        places: None,
    };
    let root = upper::mount(Union::Overlay, std::iter::empty(), &stack, Access::ReadWrite);
    let plan = strata_types::mount::MountPlan { root, access: Access::ReadWrite };
    let mounts = strata_sys::layer_mounts::LayerMounts::new(scratch, scratch);
    let mounted = strata_sys::assemble::assemble(&plan, &mounts).map(drop);
    mounted.map_err(|error| format!("overlayfs takes no upper directory on this filesystem: {error}"))
}
