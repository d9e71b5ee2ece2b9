//! Removing a tree that an image or a container made: no symlink is followed, no depth is too deep. A subvolume of btrfs goes at
//! once, whatever is in it.

use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, SeekFrom, open, openat, renameat, unlinkat};
use rustix::io::Errno;

/// How many directories are held open at once. A directory further down is first moved up to the top, so that neither
/// the stack nor the limit of open files (1024 by default) depends on what is removed.
const DEPTH_MAX: usize = 64;
/// How much of a directory is read at once.
const ENTRIES_BYTES: usize = 4096;

/// Removes whatever is at `path`, itself included; says whether something was there.
pub(crate) fn remove_tree(path: &Path) -> io::Result<bool> {
    let refused = match unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) => return Ok(true),
        Err(Errno::NOENT) => return Ok(false),
        Err(error @ (Errno::ISDIR | Errno::PERM)) => error,
        Err(error) => return Err(error.into()),
    };
    if unlinkat(CWD, path, AtFlags::REMOVEDIR).is_ok() {
        return Ok(true);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match open(path, flags, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(false),
        // No directory, but a file that must not be removed.
        Err(Errno::NOTDIR) => return Err(refused.into()),
        Err(error) => return Err(error.into()),
    };
    if let Some((parent, name)) = path.parent().zip(path.file_name()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if crate::btrfs::destroy(open(parent, flags & !OFlags::NOFOLLOW, Mode::empty())?.as_fd(), name, top.as_fd())? {
            return Ok(true);
        }
    }
    loop {
        empty(top.as_fd(), top.as_fd(), 0)?;
        match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            // Something was moved up from too deep, or somebody adds names while we remove.
            Err(Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn empty(top: BorrowedFd<'_>, dir: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    for (name, kind) in entries(dir)? {
        if kind != FileType::Directory {
            match unlinkat(dir, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if depth == DEPTH_MAX {
            renameat(dir, &name, top, format!(".{}", crate::random::hex::<8>()))?;
            continue;
        }
        // Many are empty, and looking whether they are costs more than trying.
        if unlinkat(dir, &name, AtFlags::REMOVEDIR).is_ok() {
            continue;
        }
        if let Some(child) = open_dir(dir, &name)? {
            if crate::btrfs::destroy(dir, OsStr::from_bytes(name.to_bytes()), child.as_fd())? {
                continue;
            }
            empty(top, child.as_fd(), depth + 1)?;
        }
        match unlinkat(dir, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn open_dir(dir: BorrowedFd<'_>, name: &CString) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(child) => Ok(Some(child)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<(CString, FileType)>> {
    let mut entries = Vec::new();
    rustix::fs::seek(dir, SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut reader = RawDir::new(dir, &mut buffer);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;

    #[test]
    fn symlinks_are_removed_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("kept/sub")).unwrap();
        std::fs::create_dir_all(dir.path().join("gone/a/b")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("kept"), dir.path().join("gone/a/link")).unwrap();
        assert!(remove_tree(&dir.path().join("gone")).unwrap());
        assert!(!remove_tree(&dir.path().join("gone")).unwrap());
        assert!(dir.path().join("kept/sub").exists());
    }

    #[test]
    fn a_tree_deeper_than_any_path_or_stack_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = open(&gone, flags, Mode::empty()).unwrap();
        for _ in 0..3000 {
            mkdirat(&at, "directory", Mode::RWXU).unwrap();
            at = openat(&at, "directory", flags, Mode::empty()).unwrap();
        }
        drop(at);
        assert!(remove_tree(&gone).unwrap());
        assert!(!gone.exists());
    }
}
