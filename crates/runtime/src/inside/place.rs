//! Finding and making mount points below a root, whatever links its image holds.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use strata_types::mount::{PLACE_MARK, PLACE_MARK_OF_A_PERSON};

use crate::Error;

/// How many links that lead nowhere are followed in making one place, as many as the kernel follows.
const LINKS_MAX: u32 = 40;

/// What a mount needs below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// Opens `path` in `root` without access. Links stay inside; none if it is not there.
pub(super) fn find(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Error> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match strata_sys::resolve::open(root, relative(path), OFlags::PATH, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Error::path("look up", path)(errno)),
    }
}

/// Opens `path` in a filesystem that we mounted ourselves, crossing nothing: neither links nor mounts.
pub(super) fn find_beneath(mount: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, Error> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match strata_sys::resolve::open(mount, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Error::path("open", path)(errno)),
    }
}

/// Places that every container has, whatever its image holds: made here, they are no change of the container's.
pub(super) const STANDING: [&str; 7] =
    ["/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/secrets"];

/// Opens `path` in `root` for mounting on it, and makes it first if it is not there.
pub(super) fn make(root: BorrowedFd<'_>, path: &str, kind: Kind) -> Result<OwnedFd, Error> {
    let maker = Maker { root, marks: STANDING.contains(&path) };
    maker.make(path, kind, LINKS_MAX)
}

/// The same, without a mark: what others make of the place is their affair.
pub(super) fn make_plain(root: BorrowedFd<'_>, path: &str, kind: Kind) -> Result<OwnedFd, Error> {
    Maker { root, marks: false }.make(path, kind, LINKS_MAX)
}

/// [`make`], and what is made is no change of the container's as long as nothing else is put there.
pub(super) fn make_marked(root: BorrowedFd<'_>, path: &str, kind: Kind) -> Result<OwnedFd, Error> {
    Maker { root, marks: true }.make(path, kind, LINKS_MAX)
}

struct Maker<'a> {
    root: BorrowedFd<'a>,
    marks: bool,
}

impl Maker<'_> {
    fn make(&self, path: &str, kind: Kind, links: u32) -> Result<OwnedFd, Error> {
        if let Some(found) = find(self.root, path)? {
            return Ok(found);
        }
        let failed = |errno: Errno| Error::path("make", path)(errno);
        let trimmed = path.trim_matches('/');
        let (above, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        let parent = self.make(above, Kind::Directory, links)?;
        let before = rustix::fs::statat(&parent, "", AtFlags::EMPTY_PATH).map_err(failed)?;
        let made = match kind {
            _ if matches!(name, "" | "." | "..") => Err(Errno::NOENT),
            Kind::Directory => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
            Kind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
                rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
        };
        match made {
            Ok(()) => {
                if self.marks {
                    mark(&parent, name, &before);
                }
                find(self.root, path)?.ok_or_else(|| failed(Errno::NOENT))
            }
            // A link that leads nowhere yet: what it names is made instead.
            Err(Errno::EXIST) if links > 0 => {
                let link = rustix::fs::readlinkat(&parent, name, Vec::new()).map_err(failed)?;
                let link = link.to_str().map_err(|_| failed(Errno::ILSEQ))?;
                let target = if link.starts_with('/') { link.to_owned() } else { format!("{above}/{link}") };
                self.make(&target, kind, links - 1)
            }
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// Marks a place that was just made, and gives the directory around it its old times. Where that is not allowed, the
/// place shows as what the container added, which harms nobody.
fn mark(parent: &OwnedFd, name: &str, before: &Stat) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(before.st_atime, before.st_atime_nsec as _),
        last_modification: time(before.st_mtime, before.st_mtime_nsec as _),
    };
    let marked = rustix::fs::openat(parent, name, flags, Mode::empty())
        .and_then(|place| match rustix::fs::fsetxattr(&place, PLACE_MARK, b"", XattrFlags::empty()) {
            // Only the machine's root may.
            Err(Errno::PERM) => rustix::fs::fsetxattr(&place, PLACE_MARK_OF_A_PERSON, b"", XattrFlags::empty()),
            marked => marked,
        })
        .and_then(|()| rustix::fs::utimensat(parent, ".", &times, AtFlags::empty()));
    if let Err(errno) = marked {
        tracing::debug!(%errno, name, "a place for a mount stays unmarked");
    }
}

/// For calls that want a path relative to a descriptor.
fn relative(path: &str) -> &str {
    match path.trim_start_matches('/') {
        "" => ".",
        rest => rest,
    }
}

/// What `fd` is open on.
pub(super) fn kind(fd: BorrowedFd<'_>) -> Result<Kind, Error> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH).map_err(Error::step("look at a mount"))?;
    let is_dir = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(if is_dir { Kind::Directory } else { Kind::File })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn places_stay_inside_whatever_the_image_holds() {
        let outside = tempfile::tempdir().unwrap();
        let root_dir = outside.path().join("root");
        std::fs::create_dir_all(root_dir.join("var")).unwrap();
        std::os::unix::fs::symlink("/run", root_dir.join("var/run")).unwrap();
        std::os::unix::fs::symlink("../../../../../escape", root_dir.join("var/up")).unwrap();
        std::os::unix::fs::symlink("loop", root_dir.join("loop")).unwrap();
        let root = strata_sys::process::open_dir(&root_dir).unwrap();
        make(root.as_fd(), "/var/run/app/socket", Kind::File).unwrap();
        assert!(root_dir.join("run/app/socket").is_file(), "a link that leads nowhere is followed inside the root");
        make(root.as_fd(), "/var/up/x", Kind::Directory).unwrap();
        assert!(root_dir.join("escape/x").is_dir());
        assert!(!outside.path().join("escape").exists());
        assert!(make(root.as_fd(), "/loop/x", Kind::Directory).is_err());
        assert!(make(root.as_fd(), "/a/../../x", Kind::Directory).is_err());
    }
}
