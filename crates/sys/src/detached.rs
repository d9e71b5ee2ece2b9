//! Mounts that are not in any tree yet: made, configured and then attached by descriptor (fsopen(2), open_tree(2),
//! mount_setattr(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change,
};

use crate::isolate;
use crate::layer_mounts::on_thread;
use crate::signal::last_errno;

/// What mount_setattr(2) takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const READ_ONLY: u64 = 1;

/// Makes a new instance of a filesystem with options, each `name` or `name=value`. Without a `source` the table of mounts
/// shows its type there, as mount(8) and other engines have it.
pub fn filesystem(name: &str, options: &[&str], attributes: MountAttrFlags) -> Result<OwnedFd> {
    mount(&instance(name, options)?, attributes)
}

/// The first half of [`filesystem`]: an instance that has no mount yet.
pub fn instance(name: &str, options: &[&str]) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !options.iter().any(|option| option.starts_with("source=")) {
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", name)?;
    }
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => rustix::mount::fsconfig_set_string(context.as_fd(), key, value)?,
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), *option)?,
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(context)
}

/// The second half: its mount, of which there can be one.
pub fn mount(instance: &OwnedFd, attributes: MountAttrFlags) -> Result<OwnedFd> {
    rustix::mount::fsmount(instance.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Makes a second sight of what is at `path` below `at`; with the mounts below it if `recursive`. An empty path is `at`
/// itself. A symlink at the end is not followed.
pub fn copy(at: BorrowedFd<'_>, path: &str, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(at, path, flags)
}

/// Makes a second sight of `inside`, which is open in the detached `mount`; with the mounts below it if `recursive`. The
/// mount itself is used up.
///
/// Kernels before 6.15 copy only what is mounted in the caller's namespace: there it is attached for a moment, in a
/// namespace that one thread is in.
pub fn part(mount: OwnedFd, inside: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    match copy(inside, "", recursive) {
        Err(Errno::INVAL) => on_thread(|| {
            isolate::own_mounts()?;
            attach(mount.as_fd(), crate::process::open_dir(Path::new("/"))?.as_fd())?;
            Ok(copy(inside, "", recursive)?)
        }),
        copied => Ok(copied?),
    }
}

/// Forbids writing through this mount, and through those below it if `recursive`.
pub fn set_read_only(mount: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    set_attributes(mount, recursive, &Attributes { set: READ_ONLY, ..Attributes::default() })
}

/// Shows the files of this mount, and of those below it if `recursive`, with the ids of a user namespace: who is 0 on the
/// disk is the namespace's root. Nothing on the disk changes. Fails with `EINVAL` where a filesystem cannot do it, and
/// with `EPERM` where a mount does it already.
pub fn map_ids(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    const IDMAP: u64 = 0x0010_0000;
    let user_namespace = namespace.as_raw_fd() as u64;
    set_attributes(mount, recursive, &Attributes { set: IDMAP, user_namespace, ..Attributes::default() })
}

/// Sets how mounts made later pass to and from this mount and those below it: private, slave or shared, by the bits of
/// mount(2).
fn set_propagation(mount: BorrowedFd<'_>, bits: libc::c_ulong) -> Result<()> {
    set_attributes(mount, true, &Attributes { propagation: bits, ..Attributes::default() })
}

/// Nothing passes between this mount and others.
pub fn set_private(mount: BorrowedFd<'_>) -> Result<()> {
    set_propagation(mount, libc::MS_PRIVATE)
}

/// Later mounts pass from the original to this copy only.
pub fn set_slave(mount: BorrowedFd<'_>) -> Result<()> {
    set_propagation(mount, libc::MS_SLAVE)
}

/// Later mounts pass both ways between this mount and its copies.
pub fn set_shared(mount: BorrowedFd<'_>) -> Result<()> {
    set_propagation(mount, libc::MS_SHARED)
}

fn set_attributes(mount: BorrowedFd<'_>, recursive: bool, attributes: &Attributes) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty string and `attributes` has the size that is given with it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Puts the detached mount `from` onto what `to` is open on.
pub fn attach(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(from, "", to, "", flags)
}

/// How mounts made later pass between a mount and its copies (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// Only to it.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be copied.
    Unbindable,
}

/// Sets how later mounts pass to and from this mount, and those below it if `recursive`.
pub fn propagate(mount: BorrowedFd<'_>, how: Propagation, recursive: bool) -> Result<()> {
    let propagation = match how {
        Propagation::Shared => libc::MS_SHARED,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Unbindable => libc::MS_UNBINDABLE,
    };
    set_attributes(mount, recursive, &Attributes { propagation, ..Attributes::default() })
}

/// Sets and clears attributes of this mount, and of those below it if `recursive`. Clearing all of `__ATIME` is part of
/// setting one of its values.
pub fn change(mount: BorrowedFd<'_>, set: MountAttrFlags, clear: MountAttrFlags, recursive: bool) -> Result<()> {
    let (set, clear) = (u64::from(set.bits()), u64::from(clear.bits()));
    set_attributes(mount, recursive, &Attributes { set, clear, ..Attributes::default() })
}

/// Makes what is behind `root` the root directory of this process only, which stays in its mount namespace.
pub fn change_root(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")
}

/// Makes what `root` is mounted on the root of this mount namespace and takes the old root away.
///
/// Refuses with `EPERM` in the mount namespace of the machine: there it would take everybody's files away.
pub fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    refuse_in_machine_namespace()?;
    let old = crate::process::open_dir(std::path::Path::new("/"))?;
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    // Both roots are on top of each other now, and `.` is still the old one's place. What is unmounted there stays mounted
    // for those from whom it came.
    propagate(old.as_fd(), Propagation::Slave, true)?;
    drop(old);
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Makes every mount of this namespace private, so that what happens here stays here. Refuses like [`pivot`].
pub fn make_all_private() -> Result<()> {
    refuse_in_machine_namespace()?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
}

/// Lets later mounts of the machine pass into this namespace, and none out of it. Refuses like [`pivot`].
pub fn make_all_slaves() -> Result<()> {
    refuse_in_machine_namespace()?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)
}

/// Fails with `EPERM` in the first mount namespace, or where that of process 1 is: what is unmounted or pivoted there is
/// gone for everybody. It also fails where nobody can tell.
pub fn refuse_in_machine_namespace() -> Result<()> {
    let mine = rustix::fs::stat("/proc/thread-self/ns/mnt")?.st_ino;
    if FIRST_MOUNT_NAMESPACES.contains(&mine) {
        return Err(Errno::PERM);
    }
    match rustix::fs::stat("/proc/1/ns/mnt") {
        Ok(first) if first.st_ino == mine => Err(Errno::PERM),
        _ => Ok(()),
    }
}

/// The number is fixed since Linux 6.17 (`MNT_NS_INIT_INO` of linux/nsfs.h); before, the first mount namespace got one of the
/// first two numbers that are given out at boot.
const FIRST_MOUNT_NAMESPACES: [u64; 3] = [0xEFFF_FFF8, 0xF000_0000, 0xF000_0001];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pivoting_is_refused_where_the_machine_lives() {
        let here = crate::process::open_dir(std::path::Path::new("/")).unwrap();
        assert_eq!(pivot(here.as_fd()), Err(Errno::PERM));
        assert_eq!(make_all_private(), Err(Errno::PERM));
    }

    #[test]
    fn a_file_is_taken_out_of_a_mount_that_is_nowhere() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let memory = filesystem("tmpfs", &[], MountAttrFlags::empty()).unwrap();
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::RDWR;
        let file = rustix::fs::openat(&memory, "file", flags, rustix::fs::Mode::RUSR).unwrap();
        rustix::io::write(&file, b"content").unwrap();
        drop(file);
        let inside = rustix::fs::openat(&memory, "file", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let taken = part(memory, inside.as_fd(), false).unwrap();
        let path = format!("/proc/self/fd/{}", taken.as_raw_fd());
        assert_eq!(std::fs::read(path).unwrap(), b"content");
    }
}
