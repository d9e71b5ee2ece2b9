//! Leaving the mount namespace of the machine, where something is mounted for this process alone.

use rustix::io::Result;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

/// Moves the calling thread into a new mount namespace where nothing propagates to or from others, with an empty tmpfs on
/// `/run`.
///
/// Only this thread and those it starts later are affected (mount_namespaces(7)). Needs CAP_SYS_ADMIN.
pub fn thread_mounts() -> Result<()> {
    own_mounts()?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755")
}

/// Moves the calling thread into a copy of its mount namespace from where nothing propagates to others. There is no way
/// back: for programs that end soon.
pub fn own_mounts() -> Result<()> {
    // SAFETY: NEWNS and FS change what this thread sees of the file system; no file descriptors are unshared, so no
    // other thread's descriptor can be closed or reused behind its back.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
}
