//! A mount namespace with nothing in it but an empty directory, of which containers' own are copies.
//!
//! A copy of the machine's namespace has all the machine's mounts, which have to go before the container's program runs, and for
//! that pivot_root(2) looks at every process there is. In a copy of this one the container's root is mounted on the only
//! directory there is, and it is enough that it becomes the process's root. Whoever could take that mount away, as a
//! container with CAP_SYS_ADMIN can, finds a directory that is empty and cannot be written.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags};
use rustix::thread::UnshareFlags;

use crate::detached;
use crate::layer_mounts::{new_mount, unshare};
use crate::process::{self, NamespaceSet};

/// What its directory is in: memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Moves this thread into a new one, with the last sight of the directory `covered` as what it was, and gives its file.
pub(crate) fn furnish(covered: &std::path::Path) -> io::Result<OwnedFd> {
    unshare(UnshareFlags::FS | UnshareFlags::NEWNS)?;
    let namespace = process::own_namespace("mnt")?;
    detached::refuse_in_machine_namespace()?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    let options = [("mode", Some("555")), ("size", Some("4k")), ("ro", None)];
    let root = new_mount("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    rustix::mount::move_mount(&root, "", CWD, covered, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    detached::pivot(root.as_fd())?;
    Ok(namespace)
}

/// Takes this thread into a copy of the namespace `bare`; its root directory, on which another can be mounted.
///
/// # Errors
/// As setns(2) and unshare(2); `EPERM` if it turns out to be somewhere else.
pub fn enter(bare: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    process::join(bare, NamespaceSet::MOUNT)?;
    process::unshare(NamespaceSet::MOUNT)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())?;
    // What is mounted there must cover nothing of the machine's.
    if rustix::fs::fstatfs(&root)?.f_type != TMPFS_MAGIC || rustix::fs::fstat(&root)?.st_mode & 0o7777 != 0o555 {
        return Err(Errno::PERM.into());
    }
    Ok(root)
}
