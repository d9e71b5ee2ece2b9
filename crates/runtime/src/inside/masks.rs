//! Paths that are hidden or cannot be written, and kernel settings.
//!
//! What is below `/proc` and `/sys` is looked up in the filesystems that we mounted ourselves, without links and without
//! crossing mounts, so that nothing an image or a volume holds can take its place (CVE-2025-31133, CVE-2025-52565,
//! CVE-2025-52881).

use std::collections::BTreeMap;
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

/// Sets kernel settings of a bundle's container by way of the machine's `/proc`, which is still in sight. The kernel shows
/// each process those of its own namespaces.
pub(super) fn set_sysctls(settings: &BTreeMap<String, String>) -> Result<(), Error> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    if settings.is_empty() {
        return Ok(());
    }
    let proc = strata_sys::process::open_dir(std::path::Path::new("/proc")).map_err(Error::path("open", "/proc"))?;
    let kind = rustix::fs::fstatfs(&proc).map_err(Error::path("look at", "/proc"))?.f_type as u64;
    if kind != PROC_SUPER_MAGIC {
        return Err(Error::path("set kernel settings in", "/proc")(Errno::NODEV));
    }
    for (name, value) in settings {
        let failed = |errno: Errno| Error::path("set", name)(errno);
        // Interfaces may have dots in their names: then the names of settings are written with slashes.
        let path = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        let file = place::find_beneath(proc.as_fd(), &format!("sys/{path}"), OFlags::WRONLY)?;
        let file = file.ok_or_else(|| failed(Errno::NOENT))?;
        rustix::io::write(&file, value.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Hides `masked_paths` and protects `readonly_paths`. Those that are not there need neither.
pub(super) fn apply(spec: &Spec, root: BorrowedFd<'_>, standing: &Standing) -> Result<(), Error> {
    cover(&spec.masked_paths, &spec.readonly_paths, root, standing)
}

/// The same for any lists of paths.
pub(super) fn cover(
    masked: &[String],
    readonly: &[String],
    root: BorrowedFd<'_>,
    standing: &Standing,
) -> Result<(), Error> {
    let null = null_device(standing)?;
    let mut empty: Option<OwnedFd> = None;
    for path in masked {
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
    for path in readonly {
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
            match place::find_beneath(mount.as_fd(), rest, OFlags::PATH) {
                // Something was mounted there on purpose.
                Err(Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::CrossesDevices => {}
                found => return found,
            }
        }
    }
    place::find(root, path)
}

/// The null device of the container's own `/dev`, or the host's.
fn null_device(standing: &Standing) -> Result<OwnedFd, Error> {
    if let Some(dev) = &standing.dev
        && let Ok(Some(null)) = place::find_beneath(dev.as_fd(), "null", OFlags::PATH)
        && is_null(&null)?
    {
        return Ok(null);
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(Error::path("open", "/dev/null"))?;
    if is_null(&null)? { Ok(null) } else { Err(Error::path("open", "/dev/null")(Errno::NODEV)) }
}

/// Whether it is what it seems.
fn is_null(null: &OwnedFd) -> Result<bool, Error> {
    let stat = rustix::fs::statat(null, "", AtFlags::EMPTY_PATH).map_err(Error::path("look at", "/dev/null"))?;
    let is_character = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device();
    Ok(is_character && stat.st_rdev == makedev(1, 3))
}
