//! Paths that are hidden or cannot be written, and kernel settings.
//!
//! What is below `/proc` and `/sys` is looked up in the filesystems that we mounted ourselves, without links and without
//! crossing mounts, so that nothing an image or a volume holds can take its place (CVE-2025-31133, CVE-2025-52565,
//! CVE-2025-52881).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_sys::detached;

use super::place::{self, Kind};
use super::standing::Standing;
use crate::Error;
use crate::spec::Spec;

/// Sets kernel settings of the container's namespaces.
pub(super) fn sysctls(spec: &Spec, standing: &Standing) -> Result<(), Error> {
    for (name, value) in &spec.sysctls {
        let Some(proc) = &standing.proc else {
            return Err(Error::Spec("kernel settings need the standing /proc".to_owned()));
        };
        let path = format!("sys/{}", name.replace('.', "/"));
        let failed = |errno: Errno| Error::path("set", name)(errno);
        let file = place::find_beneath(proc.as_fd(), &path, OFlags::WRONLY)?.ok_or_else(|| failed(Errno::NOENT))?;
        rustix::io::write(&file, value.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Hides `masked_paths` and protects `readonly_paths`. Those that are not there need neither.
pub(super) fn apply(spec: &Spec, root: BorrowedFd<'_>, standing: &Standing) -> Result<(), Error> {
    let null = null_device()?;
    let mut empty: Option<OwnedFd> = None;
    for path in &spec.masked_paths {
        let Some(found) = find(root, standing, path)? else { continue };
        let failed = |errno: Errno| Error::path("mask", path)(errno);
        let kind = place::kind(found.as_fd())?;
        let cover = match (kind, &empty) {
            (Kind::File, _) => detached::copy(null.as_fd(), "", false),
            (Kind::Directory, Some(empty)) => detached::copy(empty.as_fd(), "", false),
            (Kind::Directory, None) => detached::filesystem("tmpfs", &[], MountAttrFlags::MOUNT_ATTR_RDONLY),
        }
        .map_err(failed)?;
        detached::attach(cover.as_fd(), found.as_fd()).map_err(failed)?;
        if empty.is_none() && kind == Kind::Directory {
            // One empty directory hides all.
            empty = Some(cover);
        }
    }
    for path in &spec.readonly_paths {
        let Some(found) = find(root, standing, path)? else { continue };
        let failed = |errno: Errno| Error::path("make read-only", path)(errno);
        let cover = detached::copy(found.as_fd(), "", true).map_err(failed)?;
        detached::set_read_only(cover.as_fd(), true).map_err(failed)?;
        detached::attach(cover.as_fd(), found.as_fd()).map_err(failed)?;
    }
    Ok(())
}

fn find(root: BorrowedFd<'_>, standing: &Standing, path: &str) -> Result<Option<OwnedFd>, Error> {
    for (prefix, mount) in [("/proc/", &standing.proc), ("/sys/", &standing.sys)] {
        if let (Some(rest), Some(mount)) = (path.strip_prefix(prefix), mount) {
            return place::find_beneath(mount.as_fd(), rest, OFlags::PATH);
        }
    }
    place::find(root, path)
}

/// The host's `/dev/null`, if it is what it seems.
fn null_device() -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| Error::path("open", "/dev/null")(errno);
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::statat(&null, "", AtFlags::EMPTY_PATH).map_err(failed)?;
    let is_character = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device();
    if is_character && stat.st_rdev == makedev(1, 3) { Ok(null) } else { Err(failed(Errno::NODEV)) }
}
