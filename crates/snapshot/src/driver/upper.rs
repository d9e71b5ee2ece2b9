//! The writable layer of drivers that stand on overlayfs: `upper/` and `work/`, and a project if they are limited.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use strata_layer::diff::Lower;
use strata_layer::pipeline::{Pack, Packer};
use strata_layer::{LayerSink, Unpacked, diff};
use strata_sys::project::Projects;
use strata_sys::{durable, spare_union};
use strata_types::Watch;
use strata_types::mount::{Access, Mount, Union, Upper};

use super::{Changes, Stack};
use crate::{Error, Result};

/// What lies in a container's directory.
pub(super) const PARTS: &[&str] = &[UPPER, WORK, PROJECT];
const UPPER: &str = "upper";
const WORK: &str = "work";
/// The name of the project that both directories are in, if what they hold is limited.
const PROJECT: &str = "upper.project";
/// What of a container's directory the next one has, too.
pub(crate) const LASTING: [&str; 2] = [UPPER, WORK];

/// The mode of a new upper directory: that of the container's root directory.
const MODE: u32 = 0o755;

/// The upper directory of a container.
pub(crate) fn dir(container: &Path) -> PathBuf {
    container.join(UPPER)
}

/// Whether a container's upper directory is as it was made, and nothing else of the driver's is there than it and its scratch
/// space.
pub(crate) fn is_as_made(container: &Path) -> std::io::Result<bool> {
    Ok(spare_union::is_as_made(&dir(container), MODE, &container.join(WORK))? && !container.join(PROJECT).exists())
}

/// Makes both directories. The upper one's mode is that of the container's root directory. What they may hold can be limited
/// for both together only: what is made in the one is moved into the other.
pub(super) fn prepare(container: &Path, limit: Option<(&Projects, u64)>) -> Result<()> {
    let dirs = [UPPER, WORK].map(|name| container.join(name));
    for (dir, mode) in dirs.iter().zip([MODE, 0o700]) {
        durable::create_dirs(dir, mode)?;
    }
    limit.map_or(Ok(()), |(projects, bytes)| {
        projects.limit(&dirs, bytes, &container.join(PROJECT)).map_err(Error::at("limit the size of", container))
    })
}

/// The union of layers (lowest first) with a container's upper directory. One layer alone is a union, too: of itself and
/// nothing, because overlayfs wants two lowers, and because the marks of what is gone must not be seen.
pub(super) fn mount(
    how: Union,
    lower: impl DoubleEndedIterator<Item = Mount>,
    stack: &Stack<'_>,
    access: Access,
) -> Mount {
    let mut lower = without_repetition(lower.rev());
    let upper = match (stack.container, access) {
        (Some(container), Access::ReadWrite) => {
            Some(Upper { dir: container.join(UPPER), work: container.join(WORK), volatile: stack.volatile })
        }
        (Some(container), Access::ReadOnly) => {
            // Seen without being written, the container's changes are one more lower layer.
            lower.insert(0, Mount::Dir(container.join(UPPER)));
            None
        }
        (None, _) => None,
    };
    if let (Some(places), Some(_)) = (stack.places, &upper) {
        // Below all layers, so that whatever an image has of it counts.
        lower.push(Mount::Dir(places.to_owned()));
    }
    let empty = || Mount::Dir(stack.empty.to_owned());
    match (lower.len(), &upper) {
        (0, None) => return empty(),
        (0, Some(_)) | (1, None) => lower.push(empty()),
        _ => {}
    }
    Mount::Union { how, lower, upper }
}

/// The same layer twice in an image is common (the empty one), and overlayfs refuses it. What it has at all, its uppermost
/// occurrence shows; the others add nothing.
fn without_repetition(lower: impl Iterator<Item = Mount>) -> Vec<Mount> {
    let mut once = Vec::new();
    for mount in lower {
        if !once.contains(&mount) {
            once.push(mount);
        }
    }
    once
}

/// An upper directory, open.
pub(super) struct Opened(OwnedFd);

impl Opened {
    pub(super) fn as_ref(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// Opens a container's upper directory.
pub(super) fn open(container: &Path) -> Result<Opened> {
    let path = container.join(UPPER);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Opened(rustix::fs::open(&path, flags, Mode::empty()).map_err(Error::at("open", &path))?))
}

/// Hands the upper directory as a layer's tar to the sink.
pub(super) fn pack(
    changes: &Changes<'_>,
    lower: &Lower<'_>,
    sink: &mut dyn LayerSink,
    watch: &dyn Watch,
) -> strata_layer::Result<Unpacked> {
    let upper = open(changes.container)
        .map_err(|error| strata_layer::Error::io("open the container's changes")(std::io::Error::other(error)))?;
    let mut packer = Packer::new(sink).newest(changes.newest);
    diff::pack_upper(upper.as_ref(), lower, &mut packer, watch)?;
    packer.finish()
}

/// Hands the upper directory over, entry by entry.
pub(super) fn hand_over(container: &Path, lower: &Lower<'_>, to: &mut dyn Pack, watch: &dyn Watch) -> Result<()> {
    Ok(diff::pack_upper(open(container)?.as_ref(), lower, to, watch)?)
}
