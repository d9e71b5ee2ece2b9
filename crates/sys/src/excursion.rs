//! Short stays in other mount namespaces.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::process::{self, NamespaceSet};

/// The only thread of this process is in another mount namespace; dropping this takes it back, to where it had its root and
/// worked. If there is no way back the process is aborted: every path would mean something else.
#[must_use]
#[derive(Debug)]
pub struct Excursion {
    home: OwnedFd,
    root: OwnedFd,
    working_dir: OwnedFd,
}

impl Excursion {
    /// Goes into the mount namespace behind a descriptor.
    ///
    /// # Errors
    /// Those of setns(2): EINVAL in a process with several threads, EPERM without CAP_SYS_ADMIN and CAP_SYS_CHROOT.
    pub fn into(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        let open = |path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let home = process::own_namespace("mnt")?;
        let excursion = Self { home, root: open("/")?, working_dir: open(".")? };
        process::join(namespace, NamespaceSet::MOUNT)?;
        Ok(excursion)
    }

    fn go_home(&self) -> io::Result<()> {
        process::join(self.home.as_fd(), NamespaceSet::MOUNT)?;
        // Entering a namespace makes its root ours, which is not where a process in a chroot was.
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        Ok(rustix::process::fchdir(&self.working_dir)?)
    }
}

impl Drop for Excursion {
    fn drop(&mut self) {
        if let Err(error) = self.go_home() {
            tracing::error!(%error, "cannot return to our own mount namespace");
            std::process::abort();
        }
    }
}
