//! What the person mounts: binds, memory, other snapshots.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_sys::detached;

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
    let (attributes, data) = sorted(MountAttrFlags::empty(), options);
    let mut all = vec![source.as_str()];
    all.extend(data);
    if attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
        // A disk that cannot be written is not even opened otherwise.
        all.push("ro");
    }
    let shown = format!("{kind} filesystem {device}");
    detached::filesystem(kind, &all, attributes).map_err(Error::path("mount", shown))
}

/// A directory of a mounted volume; all of it without.
pub(super) fn below(made: OwnedFd, subpath: Option<&str>) -> Result<OwnedFd, Error> {
    let Some(subpath) = subpath else { return Ok(made) };
    let inside = beneath(made.as_fd(), subpath)?;
    detached::part(made, inside.as_fd(), false).map_err(Error::path("bind", subpath))
}

/// What the words among `options` make of a mount's attributes, the later ones counting, and the options that are the
/// filesystem's.
fn sorted(mut attributes: MountAttrFlags, options: &[String]) -> (MountAttrFlags, Vec<&str>) {
    let mut data = Vec::new();
    for option in options {
        match WORDS.iter().find(|(word, ..)| word == option) {
            Some((_, of, value)) => attributes = attributes.difference(*of).union(*value),
            None if NOTHING.contains(&option.as_str()) => {}
            None => data.push(option.as_str()),
        }
    }
    (attributes, data)
}

const NONE: MountAttrFlags = MountAttrFlags::empty();
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
const NO_SUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NO_DEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NO_EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const TIMES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR__ATIME;
const NO_TIMES_OF_DIRS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODIRATIME;
const NO_LINKS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW;

/// Options that are the mount's and not the filesystem's, as mount(8) has them: which attributes each decides, and how.
const WORDS: [(&str, MountAttrFlags, MountAttrFlags); 17] = [
    ("ro", READ_ONLY, READ_ONLY),
    ("rw", READ_ONLY, NONE),
    ("nosuid", NO_SUID, NO_SUID),
    ("suid", NO_SUID, NONE),
    ("nodev", NO_DEV, NO_DEV),
    ("dev", NO_DEV, NONE),
    ("noexec", NO_EXEC, NO_EXEC),
    ("exec", NO_EXEC, NONE),
    ("noatime", TIMES, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ("atime", TIMES, NONE),
    ("relatime", TIMES, NONE),
    ("strictatime", TIMES, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
    ("nostrictatime", TIMES, NONE),
    ("nodiratime", NO_TIMES_OF_DIRS, NO_TIMES_OF_DIRS),
    ("diratime", NO_TIMES_OF_DIRS, NONE),
    ("nosymfollow", NO_LINKS, NO_LINKS),
    ("symfollow", NO_LINKS, NONE),
];

/// Words of mount(8) that say what is so anyway, or how a mount that nothing else will be below passes mounts on.
const NOTHING: [&str; 10] = [
    "defaults",
    "norelatime",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
];

/// Opens what is below a directory into which containers write: they may exchange directories for links at any moment.
fn beneath(dir: BorrowedFd<'_>, subpath: &str) -> Result<OwnedFd, Error> {
    /// So often a container may rename something while we look.
    const TRIES_MAX: u32 = 100;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(dir, subpath, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            opened => return opened.map_err(Error::path("access the path in the volume", subpath)),
        }
    }
    Err(Error::path("access the path in the volume", subpath)(Errno::AGAIN))
}

pub(super) fn bind(
    path: &Path,
    subpath: Option<&str>,
    recursive: bool,
    propagation: Propagation,
) -> Result<OwnedFd, Error> {
    let shown = path.display().to_string();
    let opened = rustix::fs::openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty())
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
    let usual = if mount.exec { NONE } else { NO_SUID | NO_DEV | NO_EXEC };
    let (attributes, data) = sorted(usual, options);
    let all: Vec<&str> = size.iter().chain(&mode).map(String::as_str).chain(data).collect();
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
pub(super) fn replaces(spec: &Spec, target: &str) -> bool {
    spec.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == target)
}

fn is_writable_below(source: &MountSource) -> bool {
    matches!(source, MountSource::Bind { writable_below: true, .. })
}
