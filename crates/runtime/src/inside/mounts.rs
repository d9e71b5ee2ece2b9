//! What the person mounts: binds, memory, other snapshots.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::MountAttrFlags;
use strata_sys::detached;

use super::options::Options;
use super::{place, secrets};
use crate::Error;
use crate::spec::{Mount, MountSource, Propagation, Spec};

/// Opens everything that will be mounted while the host's paths can still be seen, in the order of `spec.mounts`.
pub(crate) fn open_sources(spec: &Spec, plans: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, Error> {
    let mut plans = plans.into_iter();
    spec.mounts
        .iter()
        .map(|mount| match &mount.source {
            MountSource::Bind { path, recursive, propagation, subpath, .. } => {
                bind(path, subpath.as_deref(), *recursive, *propagation)
            }
            MountSource::Filesystem { subpath, .. } => {
                let made = plans.next().ok_or_else(|| Error::Spec("a mounted volume is missing".to_owned()))?;
                below(made, subpath.as_deref())
            }
            MountSource::Tmpfs { size_bytes, mode, options } => tmpfs(mount, *size_bytes, *mode, options),
            MountSource::Secrets(files) => secrets::directory(files, mount),
            MountSource::Secret(file) => secrets::file(file, mount),
            MountSource::Plan { subpath, .. } => {
                let plan = plans.next().ok_or_else(|| Error::Spec("a mounted image is missing".to_owned()))?;
                part(plan, subpath.as_deref())
            }
        })
        .collect()
}

/// A directory of a mounted image; all of it without.
pub(super) fn part(plan: OwnedFd, subpath: Option<&str>) -> Result<OwnedFd, Error> {
    let Some(subpath) = subpath else { return Ok(plan) };
    let missing = || Error::Spec(format!("`{subpath}` is not in the image"));
    let inside = place::find(plan.as_fd(), subpath)?.ok_or_else(missing)?;
    detached::part(plan, inside.as_fd(), true).map_err(Error::path("open", subpath))
}

/// All sources in the order of `spec.mounts`: those that the shim opened, and memory.
pub(super) fn with_memory(spec: &Spec, opened: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, Error> {
    let mut opened = opened.into_iter();
    spec.mounts
        .iter()
        .map(|mount| match &mount.source {
            MountSource::Tmpfs { size_bytes, mode, options } => tmpfs(mount, *size_bytes, *mode, options),
            _ => opened.next().ok_or_else(|| Error::Spec("a mount is missing".to_owned())),
        })
        .collect()
}

/// A filesystem of the machine's.
pub(crate) fn filesystem(kind: &str, device: &str, options: &[String]) -> Result<OwnedFd, Error> {
    let source = format!("source={device}");
    let options = Options::parse(options);
    let mut all = vec![source.as_str()];
    all.extend(options.data.iter().map(String::as_str));
    if options.set.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
        // A disk that cannot be written is not even opened otherwise.
        all.push("ro");
    }
    let shown = format!("{kind} filesystem {device}");
    detached::filesystem(kind, &all, options.set).map_err(Error::path("mount", shown))
}

/// A directory of a mounted volume; all of it without.
pub(super) fn below(made: OwnedFd, subpath: Option<&str>) -> Result<OwnedFd, Error> {
    let Some(subpath) = subpath else { return Ok(made) };
    let inside = beneath(made.as_fd(), subpath)?;
    detached::part(made, inside.as_fd(), false).map_err(Error::path("bind", subpath))
}

/// Opens what is below a directory into which containers write: they may exchange directories for links at any moment.
fn beneath(dir: BorrowedFd<'_>, subpath: &str) -> Result<OwnedFd, Error> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    strata_sys::resolve::open(dir, subpath, OFlags::PATH, Mode::empty(), resolve)
        .map_err(Error::path("access the path in the volume", subpath))
}

pub(super) fn bind(
    path: &Path,
    subpath: Option<&str>,
    recursive: bool,
    propagation: Propagation,
) -> Result<OwnedFd, Error> {
    let shown = path.display().to_string();
    let opened = strata_sys::resolve::open(CWD, path, OFlags::PATH, Mode::empty(), ResolveFlags::empty())
        .map_err(Error::path("open", shown.clone()))?;
    let opened = match subpath {
        Some(subpath) => beneath(opened.as_fd(), subpath)?,
        None => opened,
    };
    let tree = detached::copy(opened.as_fd(), "", recursive).map_err(Error::path("bind", shown.clone()))?;
    match propagation {
        Propagation::Private => detached::set_private(tree.as_fd()),
        Propagation::Slave => detached::set_slave(tree.as_fd()),
        Propagation::Shared => Ok(()),
    }
    .map_err(Error::path("set the propagation of", shown))?;
    Ok(tree)
}

fn tmpfs(mount: &Mount, size_bytes: Option<u64>, mode: Option<u32>, options: &[String]) -> Result<OwnedFd, Error> {
    let size = size_bytes.map(|size| format!("size={size}"));
    let mode = mode.map(|mode| format!("mode={mode:o}"));
    let options = Options::parse(options);
    let all: Vec<&str> = size.iter().chain(&mode).chain(&options.data).map(String::as_str).collect();
    let mut attributes = MountAttrFlags::empty();
    if !mount.exec {
        attributes |=
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    }
    let attributes = (attributes - options.clear) | options.set;
    detached::filesystem("tmpfs", &all, attributes).map_err(Error::path("make a tmpfs for", &mount.target))
}

/// Puts what was opened where it belongs, outer places first.
pub(super) fn attach(spec: &Spec, root: BorrowedFd<'_>, sources: Vec<OwnedFd>) -> Result<(), Error> {
    let mut pairs: Vec<(&Mount, OwnedFd)> = spec.mounts.iter().zip(sources).collect();
    pairs.sort_by_key(|(mount, _)| mount.target.split('/').filter(|part| !part.is_empty()).count());
    for (mount, source) in pairs {
        if mount.read_only {
            detached::set_read_only(source.as_fd(), !is_writable_below(&mount.source))
                .map_err(Error::path("make read-only", &mount.target))?;
        }
        let make = if spec.is_step { place::make_marked } else { place::make };
        let place = make(root, &mount.target, place::kind(source.as_fd())?)?;
        detached::attach(source.as_fd(), place.as_fd()).map_err(Error::path("mount on", &mount.target))?;
    }
    Ok(())
}

/// Whether the person mounts something at `target`, so that the standing mount there is left out.
pub(crate) fn replaces(spec: &Spec, target: &str) -> bool {
    spec.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == target)
}

fn is_writable_below(source: &MountSource) -> bool {
    matches!(source, MountSource::Bind { writable_below: true, .. })
}
