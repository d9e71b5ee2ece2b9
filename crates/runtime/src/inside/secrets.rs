//! Secrets as files in memory, which are neither swapped out nor part of the container's files.

use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_sys::detached;

use crate::Error;
use crate::spec::{Mount, SecretFile};

/// Where they are, unless somewhere else is asked for.
pub(super) const DIR: &str = "/run/secrets";

/// Makes a directory with these secrets in it, for a mount.
pub(super) fn directory(files: &[SecretFile], mount: &Mount) -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| Error::path("make a tmpfs for", &mount.target)(errno);
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !mount.exec);
    // Kernels before 6.4 have no `noswap`.
    let memory = match detached::filesystem("tmpfs", &["mode=755", "noswap"], attributes) {
        Err(_) => detached::filesystem("tmpfs", &["mode=755"], attributes),
        made => made,
    }
    .map_err(failed)?;
    for file in files {
        put(&memory, file)?;
    }
    Ok(memory)
}

/// Makes one secret that can be mounted on a file.
pub(super) fn file(file: &SecretFile, mount: &Mount) -> Result<OwnedFd, Error> {
    let (memory, target) = (directory(std::slice::from_ref(file), mount)?, &mount.target);
    let opened = rustix::fs::openat(&memory, file.name.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(Error::path("open the secret for", target))?;
    detached::part(memory, std::os::fd::AsFd::as_fd(&opened), false).map_err(Error::path("open the secret for", target))
}

fn put(memory: &OwnedFd, secret: &SecretFile) -> Result<(), Error> {
    let value = std::fs::read(&secret.source).map_err(Error::path("read the secret for", &secret.name))?;
    let failed = |errno: Errno| Error::path("write the secret", &secret.name)(errno);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(memory, secret.name.as_str(), flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
    let mut rest = value.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(failed)?;
        rest = &rest[written..];
    }
    rustix::fs::fchown(&file, Some(Uid::from_raw(secret.uid)), Some(Gid::from_raw(secret.gid))).map_err(failed)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(secret.mode)).map_err(failed)
}
