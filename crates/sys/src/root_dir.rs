//! A tree that somebody else made, seen through a descriptor: no name in it leads out of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// The root of an image, a container or a volume. Every path is resolved inside it by openat2(2) with
/// `RESOLVE_IN_ROOT`: absolute links and `..` stay inside, `/proc`-style magic links are refused.
#[derive(Debug)]
pub struct RootDir(OwnedFd);

impl RootDir {
    /// Takes the root of a detached mount, or any directory.
    pub fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// Opens a directory of the host.
    pub fn open_host(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// The descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens what is at `path`, following links inside the root unless `flags` has `NOFOLLOW`.
    pub fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.open_mode(path, flags, Mode::empty())
    }

    /// Opens a file for reading.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        // NONBLOCK: a FIFO in an image must not make us wait.
        self.open(path, OFlags::RDONLY | OFlags::NONBLOCK).map(File::from)
    }

    /// Makes or empties a regular file and opens it for writing.
    pub fn create_file(&self, path: &Path, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK;
        self.open_mode(path, flags, Mode::from_raw_mode(mode)).map(File::from)
    }

    /// Reads a small text, such as `/etc/passwd`; nothing if it is not there.
    pub fn read_to_string(&self, path: &Path, limit_bytes: u64) -> io::Result<Option<String>> {
        use io::Read as _;
        let file = match self.open_file(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(limit_bytes).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// What is at `path`; links before its last part are followed, the last one is not.
    pub fn lstat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(found) => Ok(Some(rustix::fs::fstat(found)?)),
            Err(error) if missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is at `path`, links followed.
    pub fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match self.open(path, OFlags::PATH) {
            Ok(found) => Ok(Some(rustix::fs::fstat(found)?)),
            Err(error) if missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where a symbolic link points, as it says.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let link = self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
    }

    /// The names in a directory, sorted, with what they are.
    pub fn list(&self, path: &Path) -> io::Result<Vec<(std::ffi::OsString, FileType)>> {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push((name.to_owned(), entry.file_type()));
            }
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }

    /// Makes a directory and those above it that are missing, with `mode`; links on the way are followed inside the root. A `..` in
    /// what is missing is refused.
    pub fn create_dirs(&self, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let mut there = self.open(Path::new("."), flags)?;
        let mut done = PathBuf::new();
        for part in path.components() {
            let name = match part {
                Component::Normal(name) => name,
                Component::ParentDir => return Err(io::ErrorKind::InvalidInput.into()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            };
            done.push(name);
            there = match self.open(&done, flags) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match rustix::fs::mkdirat(&there, name, Mode::from_raw_mode(mode)) {
                        Ok(()) | Err(Errno::EXIST) => self.open(&done, flags)?,
                        Err(error) => return Err(error.into()),
                    }
                }
                opened => opened?,
            };
        }
        Ok(there)
    }

    /// The directory that holds the last part of `path`, and that part.
    pub fn parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        Ok((self.open(dir, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }

    /// Removes a file or an empty directory; it may not be there.
    pub fn remove(&self, path: &Path) -> io::Result<bool> {
        let (dir, name) = match self.parent(path) {
            Err(error) if missing(&error) => return Ok(false),
            found => found?,
        };
        let removed = match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR),
            removed => removed,
        };
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn open_mode(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(crate::resolve::open(&self.0, path, flags, mode, resolve)?)
    }
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir_all(inside.join("etc")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../out", inside.join("relative")).unwrap();
        std::os::unix::fs::symlink("/etc", inside.join("good")).unwrap();
        let root = RootDir::open_host(&inside).unwrap();
        for path in ["absolute/secret", "relative/secret", "../out/secret", "/../out/secret"] {
            let error = root.open_file(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}");
        }
        root.create_file(Path::new("good/file"), 0o600).unwrap();
        assert!(inside.join("etc/file").is_file());
        root.create_dirs(Path::new("/good/a/../b/c"), 0o755).unwrap_err();
        root.create_dirs(Path::new("/good/b/c"), 0o755).unwrap();
        assert!(inside.join("etc/b/c").is_dir());
        assert!(root.create_dirs(Path::new("relative/planted"), 0o755).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        assert!(root.remove(Path::new("good/file")).unwrap());
        assert!(!root.remove(Path::new("good/file")).unwrap());
    }
}
