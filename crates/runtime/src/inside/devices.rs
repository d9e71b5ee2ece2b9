//! The nodes and links of a container's `/dev`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use strata_sys::detached;
use strata_types::ids::IdMaps;

use super::place::{self, Kind};
use super::standing::Standing;
use crate::Error;
use crate::spec::{DeviceNode, Spec};

/// Character devices that are always there (OCI runtime-spec, config-linux.md#default-devices).
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Makes the nodes and links of `/dev`, and those the person asked for.
pub(super) fn make(spec: &Spec, root: BorrowedFd<'_>, standing: &Standing) -> Result<(), Error> {
    if spec.namespaces.user.is_some() {
        return Ok(());
    }
    if let Some(dev) = &standing.dev {
        // Not every kernel is built with it.
        let has_core = match &standing.proc {
            Some(proc) => place::find_beneath(proc.as_fd(), "kcore", OFlags::PATH)?.is_some(),
            None => false,
        };
        standing_nodes(dev.as_fd(), has_core)?;
    }
    for node in &spec.devices {
        device_node(root, &node.path, node)?;
    }
    Ok(())
}

fn standing_nodes(dev: BorrowedFd<'_>, has_core: bool) -> Result<(), Error> {
    for (name, major, minor) in NODES {
        let failed = |errno: Errno| Error::path("make device", format!("/dev/{name}"))(errno);
        let number = makedev(major, minor);
        match rustix::fs::mknodat(dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number) {
            Err(Errno::PERM) => bind(dev, name, &format!("/dev/{name}"), number).map_err(failed)?,
            other => other.map_err(failed)?,
        }
    }
    let core = has_core.then_some(("/proc/kcore", "core"));
    for (target, name) in LINKS.into_iter().chain(core) {
        rustix::fs::symlinkat(target, dev, name).map_err(Error::path("make link", format!("/dev/{name}")))?;
    }
    Ok(())
}

/// `/dev` for a user namespace, in which no nodes can be made: with all of them, and its root's.
pub(super) fn dev_for(spec: &Spec, maps: &IdMaps, root: (u32, u32)) -> Result<OwnedFd, Error> {
    let dev = super::mapped::empty_dev(root)?;
    let before = rustix::process::umask(Mode::empty());
    let made = fill(&dev, spec, maps, root);
    rustix::process::umask(before);
    made.map(|()| dev)
}

fn fill(dev: &OwnedFd, spec: &Spec, maps: &IdMaps, root: (u32, u32)) -> Result<(), Error> {
    standing_nodes(dev.as_fd(), std::path::Path::new("/proc/kcore").exists())?;
    for node in &spec.devices {
        let refused = || Error::Spec(format!("device {}: with a user namespace, devices are below /dev", node.path));
        let path = node.path.strip_prefix("/dev/").ok_or_else(refused)?;
        let (uid, gid) = maps.outside(node.uid, node.gid).unwrap_or(root);
        device_node(dev.as_fd(), &format!("/{path}"), &DeviceNode { uid, gid, ..node.clone() })?;
    }
    Ok(())
}

fn device_node(root: BorrowedFd<'_>, path: &str, node: &DeviceNode) -> Result<(), Error> {
    let failed = |errno: Errno| Error::path("make device", &node.path)(errno);
    let (above, name) = path.rsplit_once('/').ok_or_else(|| failed(Errno::INVAL))?;
    let parent = place::make(root, above, Kind::Directory)?;
    let kind = if node.block { FileType::BlockDevice } else { FileType::CharacterDevice };
    let number = makedev(node.major, node.minor);
    match rustix::fs::mknodat(&parent, name, kind, Mode::from_raw_mode(node.mode), number) {
        Err(Errno::PERM) => return bind(parent.as_fd(), name, &node.path, number).map_err(failed),
        // One of the standing ones asked for again, or two of one name: the last wins.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?;
            rustix::fs::mknodat(&parent, name, kind, Mode::from_raw_mode(node.mode), number).map_err(failed)?;
        }
        other => other.map_err(failed)?,
    }
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
}

/// Shows the host's node instead: who is not root on the machine makes none.
fn bind(dir: BorrowedFd<'_>, name: &str, host: &str, number: u64) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let node = rustix::fs::open(host, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&node)?;
    let is_device = matches!(FileType::from_raw_mode(stat.st_mode), FileType::CharacterDevice | FileType::BlockDevice);
    if !is_device || stat.st_rdev != number {
        return Err(Errno::PERM);
    }
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, create, Mode::from_raw_mode(0o666)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let place = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let shown = detached::copy(node.as_fd(), "", false)?;
    detached::attach(shown.as_fd(), place.as_fd())
}
