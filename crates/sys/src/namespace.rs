//! The guard of the machine's own mount namespace.

use std::io;

use rustix::io::Errno;

/// The first mount namespace's number, fixed since Linux 6.17 (linux/nsfs.h).
const FIRST_MOUNT_NAMESPACE: u64 = 0xEFFF_FFF8;

/// Fails with `EPERM` in the machine's first mount namespace, or where that of process 1 is: what is unmounted or pivoted
/// there is gone for everybody.
pub fn refuse_in_initial() -> io::Result<()> {
    let mine = rustix::fs::stat("/proc/thread-self/ns/mnt")?;
    let with_first = rustix::fs::stat("/proc/1/ns/mnt").is_ok_and(|first| first.st_ino == mine.st_ino);
    if mine.st_ino == FIRST_MOUNT_NAMESPACE || with_first { Err(Errno::PERM.into()) } else { Ok(()) }
}

/// Makes the current directory, which must be a mount's root, the root of this thread's namespace, and takes the old root
/// with everything below it away. Refuses as [`refuse_in_initial`] does.
pub fn pivot_here() -> io::Result<()> {
    refuse_in_initial()?;
    rustix::process::pivot_root(".", ".")?;
    // Old and new root are on top of each other; `.` is the old one.
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_namespace_is_refused() {
        assert_eq!(refuse_in_initial().unwrap_err().raw_os_error(), Some(Errno::PERM.raw_os_error()));
        assert_eq!(pivot_here().unwrap_err().raw_os_error(), Some(Errno::PERM.raw_os_error()));
    }
}
