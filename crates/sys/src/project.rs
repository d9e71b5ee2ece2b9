//! Limits of what directories may hold together: project quotas of XFS and ext4 (quotactl_fd(2), ioctl_xfs_fsgetxattr(2)).
//!
//! ```text
//! DIR/<id>   a project, an empty file; another name of it is with whom the project belongs to
//! DIR/lock   flock'd while projects are made or given back
//! ```
//!
//! A project is a number that the filesystem keeps with every file and counts by; the kernel knows of no owner, and keeps a limit
//! until somebody takes it away. So who removes the directory of a container has removed its project, too, and
//! [`Projects::tidy`] takes away the limits of those whose other name is gone.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::durable::{self, Durability};
use crate::lock::{Lock, Mode as LockMode};
use crate::signal::last_errno;
use crate::user_namespace;

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR`, which XFS brought and ext4 took over.
const ATTRIBUTES_GET: u64 = 0x801c_581f;
const ATTRIBUTES_SET: u64 = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`: what is made in the directory belongs to its project; from other projects nothing is moved or
/// linked into it.
const INHERIT: u32 = 0x200;

/// `PRJQUOTA`, the kind of all quotas here.
const PROJECT: u32 = 2;
/// `Q_GETINFO`, `Q_GETQUOTA`, `Q_SETQUOTA`, `Q_XGETQSTATV`. The kernel translates for filesystems that speak the other dialect.
const GET_INFO: u32 = 0x80_0005;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
const GET_STATE: u32 = 0x5808;
/// `FS_QUOTA_PDQ_ACCT` and `FS_QUOTA_PDQ_ENFD`.
const COUNTED: u16 = 0x10;
const ENFORCED: u16 = 0x20;
/// `QIF_BLIMITS`: of all fields, the limits of room count.
const LIMITS_OF_ROOM: u32 = 1;
/// What limits are counted in (`QIF_DQBLKSIZE`); room that is taken is in bytes.
const UNIT_BYTES: u64 = 1024;

/// The numbers that projects have here. People and other programs count theirs up from one.
const ID_MIN: u32 = 1 << 30;
const ID_MAX: u32 = (1 << 31) - 1;

/// linux/magic.h
const XFS: i64 = 0x5846_5342;
const EXT4: i64 = 0xef53;

/// `fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    extent_size_for_copies: u32,
    padding: [u8; 8],
}

/// `if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    hard_units: u64,
    soft_units: u64,
    bytes: u64,
    hard_inodes: u64,
    soft_inodes: u64,
    inodes: u64,
    time_of_room: u64,
    time_of_inodes: u64,
    valid: u32,
}

/// `fs_quota_statv`, of which the flags are read.
#[repr(C)]
struct State {
    version: u8,
    padding: u8,
    flags: u16,
    rest: [u64; 19],
}

/// `if_dqinfo`, of which nothing is read.
type Details = [u64; 3];

/// The projects of one store.
#[derive(Clone, Debug)]
pub struct Projects {
    dir: PathBuf,
}

impl Projects {
    /// Names those that are kept in `dir`. Nothing is made yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where they are kept.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Limits what the empty directories `dirs`, which lie on one filesystem, and everything that is ever made in them may
    /// take together. The project has the name `at` from now on. Nothing may be [lacking].
    pub fn limit(&self, dirs: &[PathBuf], bytes: u64, at: &Path) -> io::Result<()> {
        let dirs = dirs.iter().map(|dir| open_dir(dir)).collect::<rustix::io::Result<Vec<_>>>()?;
        let first = dirs.first().ok_or(io::ErrorKind::InvalidInput)?.as_fd();
        durable::create_dirs(&self.dir, 0o700).map_err(|error| error.source)?;
        let _lock = self.lock()?;
        let (id, path) = self.free(first)?;
        // Whoever dies after this leaves a file that `tidy` takes for that of a project that nobody has.
        durable::write_file(&path, b"", 0o600, Durability::Durable).map_err(|error| error.source)?;
        set_limit(first, id, bytes)?;
        for dir in &dirs {
            assign(dir.as_fd(), id)?;
        }
        std::fs::hard_link(&path, at)
    }

    /// How much there is in the project of a directory, and how much there may be.
    pub fn usage(dir: &Path) -> io::Result<Usage> {
        let dir = open_dir(dir)?;
        let quota = quota(dir.as_fd(), attributes(dir.as_fd())?.project)?;
        Ok(Usage { bytes: quota.bytes, bytes_max: quota.hard_units * UNIT_BYTES })
    }

    /// Takes away the limits of projects that belong to nobody any more.
    pub fn tidy(&self) -> io::Result<()> {
        let dir = match open_dir(&self.dir) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        let _lock = self.lock()?;
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if entry.metadata()?.nlink() > 1 {
                continue;
            }
            match set_limit(dir.as_fd(), id, 0) {
                Ok(()) => drop(durable::remove(&entry.path()).map_err(|error| error.source)?),
                // The filesystem is mounted without quotas now, and keeps what it knows until it is mounted with them.
                Err(Errno::NOSYS | Errno::SRCH) => tracing::debug!(id, "the limit of a project stays for now"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<Lock> {
        Lock::wait(&self.dir.join("lock"), LockMode::Exclusive)
    }

    /// A number that no project on the filesystem of `on` has, neither of ours nor of anybody else's.
    fn free(&self, on: BorrowedFd<'_>) -> io::Result<(u32, PathBuf)> {
        loop {
            let id = ID_MIN + u32::from_ne_bytes(crate::random::bytes()) % (ID_MAX - ID_MIN);
            let path = self.dir.join(id.to_string());
            if !path.exists() && quota(on, id)?.is_unused() {
                return Ok((id, path));
            }
        }
    }
}

/// What there is in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on the disk.
    pub bytes: u64,
    /// How many there may be; 0 for any number.
    pub bytes_max: u64,
}

impl Quota {
    fn is_unused(&self) -> bool {
        let Self { hard_units, soft_units, bytes, hard_inodes, soft_inodes, inodes, .. } = *self;
        [hard_units, soft_units, bytes, hard_inodes, soft_inodes, inodes] == [0; 6]
    }
}

/// What is lacking for limits of directories on the filesystem of `dir`, and what would give it, in words.
pub fn lacking(dir: &Path) -> io::Result<Option<&'static str>> {
    if !user_namespace::is_initial() {
        return Ok(Some(NOT_ROOT));
    }
    let dir = open_dir(dir)?;
    let kind = rustix::fs::fstatfs(&dir)?.f_type as i64;
    let state = state(dir.as_fd())?;
    Ok(match (kind, state & COUNTED != 0, state & ENFORCED != 0) {
        (_, true, true) => None,
        _ if kind != XFS && kind != EXT4 => Some("project quotas need XFS or ext4 below the store"),
        (XFS, ..) if !knows_quotas(dir.as_fd())? => Some("this kernel keeps no quotas on XFS"),
        (XFS, ..) => Some(
            "XFS needs the mount option `pquota`; as the root filesystem, `rootflags=pquota` among the kernel's parameters",
        ),
        (_, true, false) => Some("ext4 needs the mount option `prjquota`"),
        _ => Some(
            "ext4 needs `tune2fs -O project -Q prjquota DEVICE` while it is not mounted, and the mount option `prjquota`",
        ),
    })
}

/// Why nobody else limits anything.
pub const NOT_ROOT: &str = "quotas are for the machine's root to set";

/// What the kernel does by project on that filesystem.
fn state(on: BorrowedFd<'_>) -> rustix::io::Result<u16> {
    let mut state = State { version: 1, padding: 0, flags: 0, rest: [0; 19] };
    // SAFETY: the command writes a structure of that version, which is of that size.
    match unsafe { call(on, GET_STATE, 0, (&raw mut state).cast()) } {
        Ok(()) => Ok(state.flags),
        Err(Errno::NOSYS | Errno::INVAL) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether the kernel could keep quotas of that filesystem if they were turned on.
fn knows_quotas(on: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut details: Details = [0; 3];
    // SAFETY: the command writes a structure of that size.
    match unsafe { call(on, GET_INFO, 0, details.as_mut_ptr().cast()) } {
        Ok(()) | Err(Errno::SRCH) => Ok(true),
        Err(Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

fn quota(on: BorrowedFd<'_>, id: u32) -> rustix::io::Result<Quota> {
    let mut quota = Quota::default();
    // SAFETY: the command writes a structure of that layout and size.
    match unsafe { call(on, GET_QUOTA, id, (&raw mut quota).cast()) } {
        // XFS has not heard of it.
        Ok(()) | Err(Errno::NOENT) => Ok(quota),
        Err(error) => Err(error),
    }
}

/// Limits a project; 0 bytes are no limit.
fn set_limit(on: BorrowedFd<'_>, id: u32, bytes: u64) -> rustix::io::Result<()> {
    let hard_units = if bytes == 0 { 0 } else { (bytes / UNIT_BYTES).max(1) };
    let mut quota = Quota { hard_units, valid: LIMITS_OF_ROOM, ..Quota::default() };
    // SAFETY: the command reads a structure of that layout and size.
    unsafe { call(on, SET_QUOTA, id, (&raw mut quota).cast()) }
}

/// Puts a directory, and what will be made in it, into a project.
fn assign(dir: BorrowedFd<'_>, project: u32) -> rustix::io::Result<()> {
    let mut attributes = Attributes { project, ..attributes(dir)? };
    attributes.flags |= INHERIT;
    // SAFETY: the request reads a structure of that layout and size.
    match unsafe { libc::ioctl(dir.as_raw_fd(), ATTRIBUTES_SET as _, &raw const attributes) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// In what way a directory is kept, and the project it is in: flags that chattr(1) sets, for example.
pub(crate) fn ways(dir: BorrowedFd<'_>) -> rustix::io::Result<(u32, u32)> {
    /// `FS_XFLAG_HASATTR`, which says nothing that listxattr(2) does not.
    const HAS_ATTRIBUTES: u32 = 0x8000_0000;
    attributes(dir).map(|found| (found.flags & !HAS_ATTRIBUTES, found.project))
}

fn attributes(dir: BorrowedFd<'_>) -> rustix::io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the request writes a structure of that layout and size.
    match unsafe { libc::ioctl(dir.as_raw_fd(), ATTRIBUTES_GET as _, &raw mut attributes) } {
        0 => Ok(attributes),
        _ => Err(last_errno()),
    }
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// # Safety
/// `argument` points to what `command` takes.
unsafe fn call(on: BorrowedFd<'_>, command: u32, id: u32, argument: *mut libc::c_void) -> rustix::io::Result<()> {
    let command = (command << 8) | PROJECT;
    // SAFETY: the descriptor is open, and the caller vouches for the argument. Linux 5.14.
    match unsafe { libc::syscall(libc::SYS_quotactl_fd, on.as_raw_fd(), command, id, argument) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernels() {
        // From a C program with linux/fs.h, linux/quota.h and linux/dqblk_xfs.h.
        let sizes = [size_of::<Attributes>(), size_of::<Quota>(), size_of::<State>(), size_of::<Details>()];
        assert_eq!(sizes, [28, 72, 160, 24]);
        assert_eq!((std::mem::offset_of!(Quota, valid), std::mem::offset_of!(State, flags)), (64, 2));
    }

    #[test]
    fn a_filesystem_without_quotas_says_so_and_there_is_nothing_to_give_back() {
        let lacking = lacking(Path::new("/proc")).unwrap().unwrap();
        assert!(["project quotas need XFS or ext4 below the store", NOT_ROOT].contains(&lacking), "{lacking}");
        let dir = tempfile::tempdir().unwrap();
        Projects::new(&dir.path().join("none")).tidy().unwrap();
        assert!(!dir.path().join("none").exists());
    }
}
