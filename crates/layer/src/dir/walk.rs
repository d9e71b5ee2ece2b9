//! From a directory back to entries.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use strata_types::mount::{PLACE_MARK, PLACE_MARK_OF_A_PERSON};

use super::attributes::{At, xattrs};
use super::resolve::open_in_root;
use crate::{DEPTH_MAX, Device, Entry, Error, Kind, LayerPath, Result, Time};

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Opening must neither wait for the other end of a pipe nor follow a link put there meanwhile.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Attributes that belong to this host and not to the file.
const OF_THE_HOST: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

type Visit<'a> = dyn FnMut(&Entry, Option<BorrowedFd<'_>>) -> Result<()> + 'a;

/// Visits everything below `root` but not `root` itself: directories before what is in them, sorted by name, second
/// names of a file as hard links, sockets and marked places ([`PLACE_MARK`]) passed over. For a file, the second argument is the open file.
pub fn walk(root: BorrowedFd<'_>, visit: &mut dyn FnMut(&Entry, Option<BorrowedFd<'_>>) -> Result<()>) -> Result<()> {
    walk_where(root, &|_| true, visit)
}

/// The same, without what `keep` does not keep. What is left out is nobody's first name either.
pub fn walk_where(
    root: BorrowedFd<'_>,
    keep: &dyn Fn(&LayerPath) -> bool,
    visit: &mut dyn FnMut(&Entry, Option<BorrowedFd<'_>>) -> Result<()>,
) -> Result<()> {
    let top = rustix::fs::openat(root, ".", DIR, Mode::empty()).map_err(|error| Error::file("open", "/", error))?;
    Walk { visit, keep, names: HashMap::new() }.dir(&top, &LayerPath::root(), 0)
}

/// What is at `path`, not following a symbolic link at its end; links before that are followed inside `root`.
pub fn entry_at(root: BorrowedFd<'_>, path: &LayerPath) -> Result<Option<Entry>> {
    let fail = |error: Errno| Error::file("look at", path, error);
    let Some((dir, name)) = path.split() else {
        let stat = rustix::fs::fstat(root).map_err(fail)?;
        return Ok(describe(&stat, path.clone(), At::Fd(root))?.map(unmarked));
    };
    let dir = match open_in_root(root, dir, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(describe(&stat, path.clone(), At::Name(dir.as_fd(), name))?.map(unmarked)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

struct Walk<'a> {
    visit: &'a mut Visit<'a>,
    keep: &'a dyn Fn(&LayerPath) -> bool,
    /// The first name of everything that has several.
    names: HashMap<(u64, u64), LayerPath>,
}

impl Walk<'_> {
    fn dir(&mut self, dir: &OwnedFd, path: &LayerPath, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            let what = "the depth of its directories";
            return Err(Error::Limit { entry: path.to_string(), what, limit: DEPTH_MAX as u64 });
        }
        for (name, kind) in list(dir, path)? {
            let path = path.join(&name).map_err(|source| Error::Path { entry: path.to_string(), source })?;
            if !(self.keep)(&path) {
                continue;
            }
            match self.child(dir, &name, kind, path, depth) {
                // Removed since the directory was read.
                Err(Error::File { source, .. }) if source.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn child(&mut self, dir: &OwnedFd, name: &[u8], kind: FileType, path: LayerPath, depth: usize) -> Result<()> {
        let open = |flags| rustix::fs::openat(dir, name, flags, Mode::empty());
        match kind {
            FileType::Directory => {
                let child = open(DIR).map_err(|error| Error::file("open the directory", &path, error))?;
                let Some(mut entry) = self.describe_open(&child, &path)? else { return Ok(()) };
                if take_mark(&mut entry) && holds_places_only(&child, &path, depth)? {
                    return Ok(());
                }
                (self.visit)(&entry, None)?;
                self.dir(&child, &path, depth + 1)
            }
            FileType::RegularFile => {
                // Looking is no access; only the owner and root may say so.
                let file = match open(FILE | OFlags::NOATIME) {
                    Err(Errno::PERM) => open(FILE),
                    file => file,
                };
                let file = file.map_err(|error| Error::file("open", &path, error))?;
                let Some(mut entry) = self.describe_open(&file, &path)? else { return Ok(()) };
                if take_mark(&mut entry) && matches!(entry.kind, Kind::File { size_bytes: 0, .. }) {
                    return Ok(());
                }
                (self.visit)(&entry, entry.is_file().then(|| file.as_fd()))
            }
            FileType::Socket => Ok(()),
            _ => {
                let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
                let stat = stat.map_err(|error| Error::file("look at", &path, error))?;
                match self.describe(&stat, path, At::Name(dir.as_fd(), name))? {
                    Some(entry) => (self.visit)(&entry, None),
                    None => Ok(()),
                }
            }
        }
    }

    fn describe_open(&mut self, fd: &OwnedFd, path: &LayerPath) -> Result<Option<Entry>> {
        let stat = rustix::fs::fstat(fd).map_err(|error| Error::file("look at", path, error))?;
        self.describe(&stat, path.clone(), At::Fd(fd.as_fd()))
    }

    /// The entry of something, or a link if it has been seen by another name.
    fn describe(&mut self, stat: &Stat, path: LayerPath, at: At<'_>) -> Result<Option<Entry>> {
        // The kernel gives all whiteouts of an overlay one inode.
        let whiteout = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0;
        if stat.st_nlink > 1 && !whiteout && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(target) = self.names.get(&id) {
                let kind = Kind::Hardlink { target: target.clone() };
                return Ok(describe(stat, path, at)?.map(|entry| Entry { kind, xattrs: Vec::new(), ..entry }));
            }
            self.names.insert(id, path.clone());
        }
        describe(stat, path, at)
    }
}

fn unmarked(mut entry: Entry) -> Entry {
    take_mark(&mut entry);
    entry
}

/// Takes the mark of a place off; whether it was there.
fn take_mark(entry: &mut Entry) -> bool {
    let before = entry.xattrs.len();
    let marks = [PLACE_MARK, PLACE_MARK_OF_A_PERSON];
    entry.xattrs.retain(|xattr| marks.iter().all(|mark| xattr.name != mark.as_bytes()));
    entry.xattrs.len() < before
}

fn holds_places_only(dir: &OwnedFd, path: &LayerPath, depth: usize) -> Result<bool> {
    let mut is_empty = true;
    let mut visit = |_: &Entry, _: Option<BorrowedFd<'_>>| {
        is_empty = false;
        Ok(())
    };
    Walk { visit: &mut visit, keep: &|_| true, names: HashMap::new() }.dir(dir, path, depth + 1)?;
    Ok(is_empty)
}

/// The names in a directory, sorted. Where the filesystem does not say of what kind they are, they are asked for.
fn list(dir: &OwnedFd, path: &LayerPath) -> Result<Vec<(Vec<u8>, FileType)>> {
    let fail = |error: Errno| Error::file("read the directory", path, error);
    let mut names = Vec::new();
    for line in Dir::read_from(dir).map_err(fail)? {
        let line = line.map_err(fail)?;
        let name = line.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match line.file_type() {
            FileType::Unknown => match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(fail(error)),
            },
            kind => kind,
        };
        names.push((name.to_vec(), kind));
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

/// The entry of what a stat describes; `None` for a socket.
fn describe(stat: &Stat, path: LayerPath, at: At<'_>) -> Result<Option<Entry>> {
    let device = || Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File { size_bytes: stat.st_size as u64, sparse: None },
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink { target: read_link(at, &path)? },
        FileType::CharacterDevice => Kind::Char(device()),
        FileType::BlockDevice => Kind::Block(device()),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => return Ok(None),
    };
    let mut xattrs = xattrs(at).map_err(|error| Error::file("read the extended attributes of", &path, error))?;
    xattrs.retain(|xattr| !OF_THE_HOST.contains(&xattr.name.as_slice()));
    Ok(Some(Entry {
        kind,
        mode: (stat.st_mode & 0o7777) as u16,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
        xattrs,
        path,
    }))
}

fn read_link(at: At<'_>, path: &LayerPath) -> Result<Vec<u8>> {
    let target = match at {
        At::Fd(fd) => rustix::fs::readlinkat(fd, "", Vec::new()),
        At::Name(dir, name) => rustix::fs::readlinkat(dir, name, Vec::new()),
    };
    target.map(std::ffi::CString::into_bytes).map_err(|error| Error::file("read the symbolic link", path, error))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::fs::XattrFlags;
    use strata_testkit::{host, need};

    use super::*;

    fn names(root: &std::path::Path) -> Vec<String> {
        let root = rustix::fs::open(root, DIR, Mode::empty()).unwrap();
        let mut names = Vec::new();
        walk(root.as_fd(), &mut |entry, _| {
            assert!(entry.xattrs.is_empty(), "{entry:?}");
            names.push(entry.path.to_string());
            Ok(())
        })
        .unwrap();
        names
    }

    #[test]
    fn marked_places_are_passed_over_until_something_is_in_them() {
        need!(host::root());
        [PLACE_MARK, PLACE_MARK_OF_A_PERSON].into_iter().for_each(passed_over);
    }

    fn passed_over(mark: &str) {
        let dir = tempfile::tempdir().unwrap();
        let mark = |name: &str| {
            rustix::fs::setxattr(dir.path().join(name), mark, b"", XattrFlags::empty()).unwrap();
        };
        for (name, is_dir) in
            [("etc", true), ("etc/hosts", false), ("etc/passwd", false), ("proc", true), ("run", true)]
        {
            let path = dir.path().join(name);
            if is_dir { std::fs::create_dir(&path).unwrap() } else { std::fs::write(&path, b"").unwrap() }
        }
        ["etc/hosts", "proc", "run"].into_iter().for_each(mark);
        std::fs::write(dir.path().join("run/pid"), b"1").unwrap();
        assert_eq!(names(dir.path()), ["/etc", "/etc/passwd", "/run", "/run/pid"]);
        mark("etc");
        std::fs::remove_file(dir.path().join("etc/passwd")).unwrap();
        assert_eq!(names(dir.path()), ["/run", "/run/pid"]);
        std::fs::write(dir.path().join("etc/hosts"), b"127.0.0.1 me").unwrap();
        assert_eq!(names(dir.path()), ["/etc", "/etc/hosts", "/run", "/run/pid"]);
    }
}
