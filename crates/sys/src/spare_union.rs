//! The union of a container that left its writable layer as it got it, kept for the next one with the same layers
//! (docs/decisions/0048).
//!
//! ```text
//! RUN/union           whose it is: the number of its upper directory, and whether that was given back; flock'd while somebody
//!                     changes that
//!   inside the layers' namespace (layer_mounts):
//!   /n/union          the mount
//! ```
//!
//! It is found by the number of the upper directory, which is no other's as long as the union is mounted. A crash leaves at
//! most a union that nobody asks for, until another is kept or the layers' namespace goes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::layer_mounts::{LayerMounts, open_tree};
use crate::project;
use crate::spare::{lock, open_record, put};

/// Where it is inside the layers' namespace.
const PIN: &str = "/n/union";
/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

/// What is written of it. There is none where the number is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    inode: u64,
    /// Whether its last container was given back, not 0 then. It may be looked through and be the next one's.
    given: u64,
}

impl Record {
    fn read(file: &File) -> Self {
        let mut numbers = [[0; 8]; 2];
        // A file that ends before it has none.
        if file.read_exact_at(numbers.as_flattened_mut(), 0).is_err() {
            return Self::default();
        }
        let [inode, given] = numbers.map(u64::from_le_bytes);
        Self { inode, given }
    }

    fn write(self, file: &File) -> io::Result<()> {
        let numbers = [self.inode, self.given].map(u64::to_le_bytes);
        file.write_all_at(numbers.as_flattened(), 0)
    }

    fn is_of(self, upper: &Path) -> io::Result<bool> {
        Ok(self.inode != 0 && inode(upper)? == Some(self.inode))
    }
}

/// The one that a store keeps.
#[derive(Clone, Debug)]
pub struct SpareUnion {
    mounts: LayerMounts,
}

impl SpareUnion {
    /// That which is kept beside these layers.
    pub const fn new(mounts: LayerMounts) -> Self {
        Self { mounts }
    }

    /// Lets a container have what was given back: `take` puts it into the container's place, or says that it is not
    /// what the container needs; then nobody gets it. False if there is nothing, or if others look at it now.
    ///
    /// # Errors
    /// Those of `take`, and when the record cannot be changed.
    pub fn claim(&self, take: impl FnOnce() -> io::Result<bool>) -> io::Result<bool> {
        let Some(file) = self.look(false)? else { return Ok(false) };
        let record = Record::read(&file);
        if record.given == 0 {
            return Ok(false);
        }
        // Before it is anybody's: whoever dies from here on has not given it back.
        Record { given: 0, ..record }.write(&file)?;
        take()
    }

    /// A copy of the mount, for the container with this upper directory. None if the union is another's.
    ///
    /// # Errors
    /// When the record or the namespace of the layers cannot be read.
    pub fn copy(&self, upper: &Path) -> io::Result<Option<OwnedFd>> {
        let Some(file) = self.look(false)? else { return Ok(None) };
        if !Record::read(&file).is_of(upper)? {
            return Ok(None);
        }
        let mount = self.mounts.inside_existing(|| Ok(open_tree(Path::new(PIN)).ok()))?.flatten();
        mount.map_or(Ok(None), |mount| Ok(stands_on(&mount, upper)?.then_some(mount)))
    }

    /// Gives back the union of the container with this upper directory: a second mount of a `new` one, or else the one that is
    /// mounted. The process has a single thread.
    ///
    /// # Errors
    /// When it cannot be mounted or recorded. Then it is not kept.
    pub fn give(&self, upper: &Path, new: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let Some(file) = self.look(true)? else { return Ok(()) };
        let Some(inode) = inode(upper)? else { return Ok(()) };
        match new {
            Some(new) => {
                // Until it is mounted there is none.
                Record::default().write(&file)?;
                let pinned = self.mounts.inside_existing(|| put(new, PIN, true))?;
                pinned.ok_or(io::ErrorKind::NotFound)?;
            }
            None if Record::read(&file).inode == inode => {}
            None => return Ok(()),
        }
        Record { inode, given: 1 }.write(&file)
    }

    /// Takes leave of a container with this upper directory, which is removed next. If the union is its own, `keep` may put its
    /// directory away for the next one, if it was given back and the directory is as it was; else nobody gets the
    /// union. Says whether it was kept.
    ///
    /// # Errors
    /// Those of `keep`, and when the record cannot be read or changed.
    pub fn release(&self, upper: &Path, keep: impl FnOnce() -> io::Result<bool>) -> io::Result<bool> {
        let Some(file) = self.wait()? else { return Ok(false) };
        let record = Record::read(&file);
        if !record.is_of(upper)? {
            return Ok(false);
        }
        if record.given != 0 && keep()? {
            return Ok(true);
        }
        self.drop_pinned(&file)?;
        Ok(false)
    }

    /// Nobody gets what there is, and it keeps no layer.
    ///
    /// # Errors
    /// When the record cannot be changed, or the mount cannot be taken away.
    pub fn forget(&self) -> io::Result<()> {
        let Some(file) = self.wait()? else { return Ok(()) };
        if Record::read(&file) == Record::default() { Ok(()) } else { self.drop_pinned(&file) }
    }

    fn drop_pinned(&self, file: &File) -> io::Result<()> {
        Record::default().write(file)?;
        let unmount = || match rustix::mount::unmount(PIN, UnmountFlags::DETACH) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
        self.mounts.inside_existing(unmount).map(drop)
    }

    /// The record, locked; none if there is none, or if others look at it now.
    fn look(&self, create: bool) -> io::Result<Option<File>> {
        let file = self.open(create)?;
        file.map_or(Ok(None), |file| Ok(lock(&file)?.then_some(file)))
    }

    /// The record, locked as soon as that can be; none if there is none.
    fn wait(&self) -> io::Result<Option<File>> {
        let file = self.open(false)?;
        if let Some(file) = &file {
            rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::LockExclusive))?;
        }
        Ok(file)
    }

    fn open(&self, create: bool) -> io::Result<Option<File>> {
        open_record(&self.mounts.run_dir().join("union"), create)
    }
}

/// Whether this is a union whose root is that upper directory: what is told of one is told of the other, to the nanosecond of
/// the last change. Another filesystem may have been mounted in the store's place, with directories of the same numbers.
fn stands_on(union: &OwnedFd, upper: &Path) -> io::Result<bool> {
    if rustix::fs::fstatfs(union)?.f_type != OVERLAYFS_MAGIC {
        return Ok(false);
    }
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let [union, upper] = [
        rustix::fs::statx(union, "", AtFlags::EMPTY_PATH, wanted)?,
        rustix::fs::statx(CWD, upper, AtFlags::SYMLINK_NOFOLLOW, wanted)?,
    ];
    let told = |stat: &rustix::fs::Statx| {
        let [changed, modified, born] =
            [stat.stx_ctime, stat.stx_mtime, stat.stx_btime].map(|time| (time.tv_sec, time.tv_nsec));
        (changed, modified, born, stat.stx_mode, stat.stx_uid, stat.stx_gid)
    };
    Ok(told(&union) == told(&upper))
}

fn inode(upper: &Path) -> io::Result<Option<u64>> {
    match std::fs::symlink_metadata(upper) {
        Ok(found) => Ok(Some(found.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a directory is as it was when it was made beside `other`, which holds next to nothing: nothing in it, and whoever owns
/// it, may use it, and in what way it is kept the same. Overlayfs may have left its own marks.
///
/// # Errors
/// Those of open(2), getdents(2), listxattr(2), and ioctl(2) where the filesystem has no such attributes.
pub fn is_as_made(dir: &Path, mode: u32, other: &Path) -> io::Result<bool> {
    let (dir, other) = (File::open(dir)?, File::open(other)?);
    let found = dir.metadata()?;
    // Directories that had many names do not shrink on every filesystem.
    if (found.mode() & 0o7777, found.uid(), found.gid(), found.blocks()) != (mode, 0, 0, other.metadata()?.blocks()) {
        return Ok(false);
    }
    let mut names = [0; 1024];
    // A list that is longer is an error.
    let length = rustix::fs::flistxattr(&dir, &mut names)?;
    let mut names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    if !names.all(|name| name.starts_with(b"trusted.overlay.")) {
        return Ok(false);
    }
    if project::ways(dir.as_fd())? != project::ways(other.as_fd())? {
        return Ok(false);
    }
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    let mut entries = rustix::fs::RawDir::new(&dir, &mut buffer);
    while let Some(entry) = entries.next() {
        if ![&b"."[..], b".."].contains(&entry?.file_name().to_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sets the time of the last change of a directory that is a container's again.
///
/// # Errors
/// Those of utimensat(2).
pub fn renew(dir: &Path) -> io::Result<()> {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::utimensat(CWD, dir, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::process::Command;

    use rustix::fs::XattrFlags;

    use super::*;

    #[test]
    fn a_directory_that_was_changed_is_not_as_it_was_made() {
        type Change = (&'static str, fn(&Path));
        let changes: [Change; 8] = [
            ("a file", |dir| std::fs::write(dir.join("file"), "").unwrap()),
            ("a directory", |dir| std::fs::create_dir(dir.join(".dir")).unwrap()),
            ("many files that are gone", |dir| {
                let files = (0..100).map(|number| dir.join(format!("{number:0>200}")));
                files.clone().for_each(|file| std::fs::write(file, "").unwrap());
                files.for_each(|file| std::fs::remove_file(file).unwrap());
            }),
            ("permissions", |dir| std::fs::set_permissions(dir, Permissions::from_mode(0o1755)).unwrap()),
            ("owner", |dir| chown(dir, Some(7), None).unwrap()),
            ("group", |dir| chown(dir, None, Some(7)).unwrap()),
            ("attributes", |dir| rustix::fs::setxattr(dir, "user.mark", b"x", XattrFlags::empty()).unwrap()),
            ("flags", |dir| assert!(Command::new("chattr").arg("+A").arg(dir).status().unwrap().success())),
        ];
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        for (what, change) in changes {
            let place = tempfile::tempdir().unwrap();
            let dirs = ["upper", "work"].map(|name| place.path().join(name));
            dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
            std::fs::set_permissions(&dirs[0], Permissions::from_mode(0o755)).unwrap();
            let is_as_made = || is_as_made(&dirs[0], 0o755, &dirs[1]);
            match is_as_made() {
                // Nothing is kept on such a filesystem.
                Err(error) => return println!("skipped: {error}"),
                Ok(answer) => assert!(answer),
            }
            let mark = rustix::fs::setxattr(&dirs[0], "trusted.overlay.uuid", b"x", XattrFlags::empty());
            assert!(mark.is_err() || is_as_made().unwrap(), "a mark of overlayfs");
            change(&dirs[0]);
            assert!(!is_as_made().unwrap(), "{what}");
        }
    }

    #[test]
    fn records_are_read_as_they_are_written() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Record::read(&file), Record::default());
        let record = Record { inode: 0x1234_5678_9abc, given: 1 };
        record.write(&file).unwrap();
        assert_eq!(Record::read(&file), record);
    }
}
