//! A layer is a directory for overlayfs, with a recipe for its exact tar. Who shows many of them as one is the kernel or a
//! process of ours (`sys::fuse`), which reads and writes the same marks.

use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use strata_layer::diff::{Change, upper_changes};
use strata_layer::dir::{Whiteouts, entry_at};
use strata_layer::pipeline::Pack;
use strata_layer::whiteout::{Namespace, UpperMark, upper_mark};
use strata_layer::{Entry, Kind, LayerPath, Unpacked};
use strata_sys::durable;
use strata_sys::project::Projects;
use strata_types::mount::{Access, Mount, Union};
use strata_types::{Watch, plain};

use super::recorded::{self, FILES, roots};
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
        recorded::fill(layer, recorded::make(layer)?, marks(), source, watch)
    }

    fn pack(&self, layer: &Path, changes: &Changes<'_>, watch: &dyn Watch) -> Result<Unpacked> {
        let roots = roots(changes.below)?;
        recorded::record(layer, recorded::make(layer)?, marks(), None, |sink| {
            upper::pack(changes, &|path| lookup(&roots, path), sink, watch)
        })
    }

    fn hand_over(&self, below: &[PathBuf], container: &Path, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
        let roots = roots(below)?;
        upper::hand_over(container, &|path| lookup(&roots, path), to, watch)
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        recorded::play(layer, recorded::open(layer)?)
    }

    fn look(&self, layer: &Path) -> Result<Option<String>> {
        recorded::look(layer, recorded::open(layer)?)
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

/// The marks that overlayfs will look for: in a user namespace, those that anyone may set.
fn marks() -> Whiteouts {
    let initial = strata_sys::user_namespace::is_initial();
    Whiteouts::Overlay(if initial { Namespace::Trusted } else { Namespace::User })
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
    strata_sys::probe::overlay_lower_by_lower()
        .map_err(|error| format!("overlayfs takes no `lowerdir+`: {}", plain(&error)))?;
    let [below, container] = ["probe-below", "probe"].map(|name| scratch.join(name));
    let made = durable::create_dirs(&below, 0o755).map_err(Error::from).and_then(|()| upper::prepare(&container, None));
    made.map_err(|error| plain(&error))?;
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
    mounted.map_err(|error| format!("overlayfs takes no upper directory on this filesystem: {}", plain(&error)))
}
