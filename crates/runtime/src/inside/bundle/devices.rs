//! Nodes and links of `/dev`: those every container has, and the bundle's.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use strata_sys::detached;
use strata_types::runtime_spec::Device;

use super::super::place::{self, Kind};
use super::mounts::open_device;
use crate::Error;

/// config-linux.md, default devices.
const NODES: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Makes all of them below `root`. With a user namespace the host's nodes are shown instead.
pub(super) fn make(root: BorrowedFd<'_>, wanted: &[Device]) -> Result<(), Error> {
    let standing = NODES.into_iter().map(|(path, major, minor)| Device {
        kind: "c".to_owned(),
        path: path.to_owned(),
        major,
        minor,
        ..Device::default()
    });
    for device in standing.filter(|one| !wanted.iter().any(|asked| asked.path == one.path)) {
        node(root, &device)?;
    }
    for device in wanted {
        node(root, device)?;
    }
    let dev = place::make_plain(root, "/dev", Kind::Directory)?;
    // Not every kernel is built with it.
    let core = std::path::Path::new("/proc/kcore").exists().then_some(("/proc/kcore", "core"));
    for (target, name) in LINKS.into_iter().chain(core) {
        let failed = Error::path("make link", format!("/dev/{name}"));
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) => {}
            Err(Errno::EXIST) if name != "ptmx" => {}
            Err(Errno::EXIST) => renew(&dev, target, name).map_err(failed)?,
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// What an image has in the place of the terminals' entrance is not theirs.
fn renew(dev: impl AsFd, target: &str, name: &str) -> Result<(), Errno> {
    rustix::fs::unlinkat(dev.as_fd(), name, AtFlags::empty())?;
    rustix::fs::symlinkat(target, dev.as_fd(), name)
}

fn node(root: BorrowedFd<'_>, device: &Device) -> Result<(), Error> {
    let failed = |errno: Errno| Error::path("make device", &device.path)(errno);
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(Error::Setup(format!("device {}: unknown type `{other}`", device.path))),
    };
    let (above, name) = device.path.rsplit_once('/').ok_or_else(|| failed(Errno::INVAL))?;
    let parent = place::make_plain(root, above, Kind::Directory)?;
    let number = if kind == FileType::Fifo { 0 } else { makedev(device.major as u32, device.minor as u32) };
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
    match rustix::fs::mknodat(&parent, name, kind, mode, number) {
        Err(Errno::PERM) if kind != FileType::Fifo => return show(parent.as_fd(), name, device).map_err(failed),
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            if FileType::from_raw_mode(stat.st_mode) == kind && (kind == FileType::Fifo || stat.st_rdev == number) {
                return Ok(());
            }
            rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?;
            rustix::fs::mknodat(&parent, name, kind, mode, number).map_err(failed)?;
        }
        other => other.map_err(failed)?,
    }
    let (uid, gid) = (Uid::from_raw(device.uid.unwrap_or(0)), Gid::from_raw(device.gid.unwrap_or(0)));
    rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
}

/// Shows the host's node instead: who is not root on the machine makes none.
fn show(dir: BorrowedFd<'_>, name: &str, device: &Device) -> Result<(), Errno> {
    let shown = open_device(&device.path)?;
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, create, Mode::from_raw_mode(0o666)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let place = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    detached::attach(shown.as_fd(), place.as_fd())
}
