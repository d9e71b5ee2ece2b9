//! User namespaces (user_namespaces(7)): who is whom in them, and acting on files as somebody of one.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use strata_types::ids::{self, IdMaps};

use crate::caps;
use crate::signal::last_errno;

/// Says who is whom in the new user namespace of a child, and opens the namespace. Once for each namespace; needs
/// CAP_SETUID and CAP_SETGID here.
pub fn set_ids(child: i32, maps: &IdMaps) -> Result<OwnedFd> {
    let path = |name: &str| format!("/proc/{child}/{name}");
    for (name, ranges) in [("uid_map", &maps.users), ("gid_map", &maps.groups)] {
        let file = rustix::fs::open(path(name), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        // All in one write, or the kernel refuses it.
        rustix::io::write(&file, ids::lines(ranges).as_bytes())?;
    }
    rustix::fs::open(path("ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A user namespace in which nobody is, for showing files with its ids.
pub fn with_ids(maps: &IdMaps) -> Result<OwnedFd> {
    let (ours, theirs) = crate::packet::pair()?;
    let child = crate::process::clone(crate::process::NamespaceSet::USER, None, || {
        // It is there until it was seen: its side of the conversation ends with ours.
        let _over = crate::packet::receive(theirs.as_fd());
        0
    })?;
    drop(theirs);
    let made = set_ids(child.pid, maps);
    drop(ours);
    crate::signal::send(child.pidfd.as_fd(), crate::signal::Signal::KILL)?;
    crate::process::reap(child.pidfd.as_fd(), true)?;
    made
}

/// While it lives, files that this thread makes belong to somebody else, and this thread keeps its capabilities. In sight
/// of a mount with mapped ids, root outside is nobody and could not make any.
#[derive(Debug)]
pub struct FilesAs {
    before: (u32, u32),
}

impl FilesAs {
    /// Begins. Only the calling thread changes (setfsuid(2)).
    pub fn become_owner(uid: u32, gid: u32) -> Result<Self> {
        let kept = caps::thread_sets()?;
        let before = (set_fs_uid(uid), set_fs_gid(gid));
        let this = Self { before };
        // Giving up 0 takes the capabilities over files away, and a second call tells whether the first was heard.
        caps::set_thread_sets(kept)?;
        if (set_fs_uid(uid), set_fs_gid(gid)) != (uid, gid) {
            return Err(Errno::PERM);
        }
        caps::set_thread_sets(kept)?;
        Ok(this)
    }
}

impl Drop for FilesAs {
    fn drop(&mut self) {
        set_fs_gid(self.before.1);
        set_fs_uid(self.before.0);
    }
}

/// Sets and gives the one before.
fn set_fs_uid(uid: u32) -> u32 {
    // SAFETY: takes a number and changes who this thread is towards filesystems, nothing else.
    unsafe { libc::setfsuid(uid) as u32 }
}

fn set_fs_gid(gid: u32) -> u32 {
    // SAFETY: as above.
    unsafe { libc::setfsgid(gid) as u32 }
}

/// Becomes root of the user namespace that this process is in, without further groups.
pub fn become_root() -> Result<()> {
    crate::process::set_user(0, 0, &[])?;
    // SAFETY: PR_SET_DUMPABLE takes a number. Changing the user has made this process undumpable, and its files in /proc
    // the machine's root's; that is what we want, and stays so.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// The process that was found to be in the machine's own user namespace: it is asked for often, and the kernel makes three
/// objects to answer. 0 if it is to be looked at again.
static FOUND_INITIAL: AtomicI32 = AtomicI32::new(0);

/// Whether this process is in the machine's own user namespace, where root is root.
pub fn is_initial() -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    if FOUND_INITIAL.load(Ordering::Relaxed) == own {
        return true;
    }
    let maps = crate::kernel_file::read("/proc/self/uid_map").unwrap_or_default();
    let is = maps.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    FOUND_INITIAL.store(if is { own } else { 0 }, Ordering::Relaxed);
    is
}

/// To be called by who changes, or has just come with another, user namespace.
pub(crate) fn has_changed() {
    FOUND_INITIAL.store(0, Ordering::Relaxed);
}

/// Leaves the user namespace for a new one, in which this process is nobody until somebody says who it is. Fails with
/// `EINVAL` in a process with several threads, and with `EPERM` or `ENOSPC` where the machine's owner does not want it.
pub fn unshare_users() -> Result<()> {
    unshare(libc::CLONE_NEWUSER)
}

/// Leaves the mount namespace for a copy of it that belongs to the user namespace this process is in.
pub fn unshare_mounts() -> Result<()> {
    unshare(libc::CLONE_NEWNS)
}

fn unshare(flags: libc::c_int) -> Result<()> {
    // SAFETY: takes a number; the kernel refuses it to processes with several threads, or changes only what is seen of
    // users and mounts.
    let done = unsafe { libc::unshare(flags) };
    has_changed();
    match done {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Makes the person who started this process root of the new user namespace it is in, and everybody else nobody: all that
/// is possible without further ids.
pub fn map_self(uid: u32, gid: u32) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = format!("/proc/self/{name}");
        let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes()).map(drop)
    };
    // Groups that were taken from a person must not be had back by dropping them.
    write("setgroups", "deny")?;
    write("uid_map", &format!("0 {uid} 1"))?;
    write("gid_map", &format!("0 {gid} 1"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn files_are_made_as_somebody_else_for_a_while() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let owner = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            let stat = std::fs::metadata(&path).unwrap();
            (stat.uid(), stat.gid())
        };
        {
            let _somebody = FilesAs::become_owner(12_345, 54_321).unwrap();
            // The directory is root's and 0700: the capabilities are still there.
            assert_eq!(owner("theirs"), (12_345, 54_321));
        }
        assert_eq!(owner("ours"), (0, 0));
    }
}
