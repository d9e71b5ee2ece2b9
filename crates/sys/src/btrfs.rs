//! Subvolumes and snapshots of btrfs, and how much they may hold (linux/btrfs.h).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::signal::last_errno;

const MAGIC: i64 = 0x9123_683e;
/// The inode number of every subvolume's root directory (`BTRFS_FIRST_FREE_OBJECTID`).
const SUBVOLUME_INODE: u64 = 256;

const SNAPSHOT_DESTROY: u64 = request(WRITE, 15, size_of::<DestroyArguments>());
const SNAPSHOT_CREATE: u64 = request(WRITE, 23, size_of::<CreateArguments>());
const SUBVOLUME_CREATE: u64 = request(WRITE, 24, size_of::<CreateArguments>());
const FLAGS_GET: u64 = request(READ, 25, size_of::<u64>());
const FLAGS_SET: u64 = request(WRITE, 26, size_of::<u64>());
const QUOTA_CONTROL: u64 = request(READ | WRITE, 40, size_of::<QuotaControl>());
const GROUP_LIMIT: u64 = request(READ, 43, size_of::<GroupLimit>());

const WRITE: u64 = 1;
const READ: u64 = 2;

/// As `_IOC` of asm-generic/ioctl.h makes them, with the type of btrfs.
const fn request(direction: u64, number: u64, size: usize) -> u64 {
    (direction << 30) | ((size as u64) << 16) | (0x94 << 8) | number
}

/// `btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct CreateArguments {
    from: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `btrfs_ioctl_vol_args`.
#[repr(C)]
struct DestroyArguments {
    unused: i64,
    name: [u8; 4088],
}

/// `btrfs_ioctl_quota_ctl_args`.
#[repr(C)]
struct QuotaControl {
    command: u64,
    status: u64,
}

/// `btrfs_ioctl_qgroup_limit_args`; group 0 is that of the subvolume the call is made on.
#[repr(C)]
#[derive(Default)]
struct GroupLimit {
    group: u64,
    flags: u64,
    referenced_bytes_max: u64,
    exclusive_bytes_max: u64,
    referenced_bytes_reserved: u64,
    exclusive_bytes_reserved: u64,
}

/// Whether something lies on btrfs.
pub fn is_btrfs(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statfs(path)?.f_type as i64 == MAGIC)
}

/// Makes an empty subvolume.
pub fn create(path: &Path) -> io::Result<()> {
    make(SUBVOLUME_CREATE, 0, path)
}

/// Makes `to` a snapshot of the subvolume `from`: the same tree, at once, of which only changes take room. It can be
/// written.
pub fn snapshot(from: &Path, to: &Path) -> io::Result<()> {
    let from = open_dir(from)?;
    make(SNAPSHOT_CREATE, i64::from(from.as_raw_fd()), to)
}

fn make(request: u64, from: i64, path: &Path) -> io::Result<()> {
    let (parent, name) = split(path)?;
    let parent = open_dir(parent)?;
    let mut arguments = Box::new(CreateArguments { from, transaction: 0, flags: 0, unused: [0; 4], name: [0; 4040] });
    put(name, &mut arguments.name)?;
    // SAFETY: the argument has the layout and the size that the request's number says, and its name ends with a zero.
    Ok(unsafe { call(parent.as_fd(), request, std::ptr::from_mut(&mut *arguments).cast()) }?)
}

/// Lets nobody write into a subvolume any more, or lets them again.
pub fn set_read_only(subvolume: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    /// `BTRFS_SUBVOL_RDONLY`.
    const READ_ONLY: u64 = 2;
    let mut flags = 0u64;
    // SAFETY: both requests take a pointer to a number of 64 bits.
    unsafe { call(subvolume, FLAGS_GET, (&raw mut flags).cast()) }?;
    flags = if read_only { flags | READ_ONLY } else { flags & !READ_ONLY };
    // SAFETY: as above.
    Ok(unsafe { call(subvolume, FLAGS_SET, (&raw mut flags).cast()) }?)
}

/// Limits what a subvolume may hold, shared bytes included. Makes the filesystem count first if it does not: that takes a
/// while once, in the background.
pub fn limit(subvolume: &Path, bytes: u64) -> io::Result<()> {
    /// `BTRFS_QUOTA_CTL_ENABLE`.
    const ENABLE: u64 = 1;
    /// `BTRFS_QGROUP_LIMIT_MAX_RFER`.
    const REFERENCED: u64 = 1;
    let subvolume = open_dir(subvolume)?;
    let mut control = QuotaControl { command: ENABLE, status: 0 };
    // SAFETY: the argument has the layout and the size that the request's number says.
    match unsafe { call(subvolume.as_fd(), QUOTA_CONTROL, (&raw mut control).cast()) } {
        Ok(()) | Err(Errno::EXIST | Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut limit = GroupLimit { flags: REFERENCED, referenced_bytes_max: bytes, ..GroupLimit::default() };
    // SAFETY: as above.
    Ok(unsafe { call(subvolume.as_fd(), GROUP_LIMIT, (&raw mut limit).cast()) }?)
}

/// Removes `name` in `parent` with everything in it at once, if `dir`, which is the same, is a subvolume and this process may.
/// False if it has to be emptied name by name; nothing in it forbids that then.
pub(crate) fn destroy(parent: BorrowedFd<'_>, name: &OsStr, dir: BorrowedFd<'_>) -> io::Result<bool> {
    let is_subvolume =
        rustix::fs::fstat(dir)?.st_ino == SUBVOLUME_INODE && rustix::fs::fstatfs(dir)?.f_type as i64 == MAGIC;
    if !is_subvolume {
        return Ok(false);
    }
    let mut arguments = Box::new(DestroyArguments { unused: 0, name: [0; 4088] });
    put(name, &mut arguments.name)?;
    // SAFETY: the argument has the layout and the size that the request's number says, and its name ends with a zero.
    match unsafe { call(parent, SNAPSHOT_DESTROY, std::ptr::from_mut(&mut *arguments).cast()) } {
        Ok(()) => Ok(true),
        // Subvolumes are in it, or this process is not the machine's root.
        Err(Errno::NOTEMPTY | Errno::PERM | Errno::ACCESS) => {
            set_read_only(dir, false)?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    path.parent().zip(path.file_name()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn put(name: &OsStr, field: &mut [u8]) -> io::Result<()> {
    /// `BTRFS_VOL_NAME_MAX`.
    const NAME_BYTES_MAX: usize = 255;
    let name = name.as_bytes();
    if name.len() > NAME_BYTES_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    field[..name.len()].copy_from_slice(name);
    Ok(())
}

/// # Safety
/// `argument` points to what `request` takes.
unsafe fn call(fd: BorrowedFd<'_>, request: u64, argument: *mut libc::c_void) -> rustix::io::Result<()> {
    // SAFETY: the descriptor is open, and the caller vouches for the argument.
    match unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_kernels_header() {
        // From a C program with linux/btrfs.h.
        let expected = [0x5000_940f, 0x5000_9417, 0x5000_9418, 0x8008_9419, 0x4008_941a, 0xc010_9428, 0x8030_942b];
        let ours =
            [SNAPSHOT_DESTROY, SNAPSHOT_CREATE, SUBVOLUME_CREATE, FLAGS_GET, FLAGS_SET, QUOTA_CONTROL, GROUP_LIMIT];
        assert_eq!(ours, expected);
    }
}
