//! Where a copy goes: the table of `docker cp`.
//!
//! | source | destination | what happens |
//! |---|---|---|
//! | file | nothing, `x` | becomes `x` |
//! | file | nothing, `x/` | refused |
//! | file | a file | replaces it |
//! | any | a directory | goes into it under its own name |
//! | directory, `d/.` | a directory | its contents go into it |
//! | directory | nothing, `x` | becomes `x` |
//! | directory | a file | refused |

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use strata_sys::root_dir::RootDir;

use crate::container::ContainerError;
use crate::{Error, Result};

/// Links at the end of a path that lead to links.
const LINKS_MAX: usize = 40;

/// What is known about the source.
pub(super) struct Shape<'a> {
    pub(super) is_dir: bool,
    /// Its own name.
    pub(super) name: &'a OsStr,
    /// Only what is in it.
    pub(super) contents_only: bool,
    /// As it was typed.
    pub(super) typed: &'a Path,
}

/// Where the copy goes.
#[derive(Debug)]
pub(in crate::container) struct Place {
    /// The directory.
    pub(super) dir: OwnedFd,
    /// Its name there; empty if what is copied is the contents of a directory.
    pub(super) name: Vec<u8>,
}

impl Place {
    /// Finds the place for a source at `to`; `missing` is said of a directory above that is not there.
    pub(super) fn find(
        root: &RootDir,
        to: &Path,
        source: &Shape<'_>,
        missing: &dyn Fn(&Path) -> ContainerError,
    ) -> Result<Self> {
        let looking = |source| Error::Read { what: to.display().to_string(), source };
        // Without the slash at the end, which makes the kernel say of a file that it is not there.
        let path = resolve_last(root, &to.components().collect::<PathBuf>()).map_err(looking)?;
        let kind = root.lstat(&path).map_err(looking)?.map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Some(FileType::Directory) => {
                let dir = open_dir(root, &path).map_err(looking)?;
                let name = match source.is_dir && source.contents_only {
                    true => Vec::new(),
                    false => source.name.as_bytes().to_vec(),
                };
                refuse_mismatch(root, &path, &name, source)?;
                Ok(Self { dir, name })
            }
            Some(_) if source.is_dir => Err(ContainerError::DirectoryOntoFile.into()),
            Some(_) if ends_with_slash(to) => Err(ContainerError::NotADirectory(to.display().to_string()).into()),
            None if !source.is_dir && ends_with_slash(to) => Err(ContainerError::NoDirectory.into()),
            Some(_) | None => {
                let name = path.file_name().ok_or(ContainerError::NoDirectory)?;
                let parent = path.parent().unwrap_or(Path::new("/"));
                let dir = open_dir(root, parent).map_err(|_| missing(parent))?;
                Ok(Self { dir, name: name.as_bytes().to_vec() })
            }
        }
    }
}

/// Refuses to replace a directory by something else, or the other way round.
fn refuse_mismatch(root: &RootDir, dir: &Path, name: &[u8], source: &Shape<'_>) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    let path = dir.join(OsStr::from_bytes(name));
    let there = root.lstat(&path).map_err(|source| Error::Read { what: path.display().to_string(), source })?;
    let is_dir = there.map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    match is_dir {
        Some(is_dir) if is_dir != source.is_dir => {
            let (there, new) = if is_dir { ("directory", "non-directory") } else { ("non-directory", "directory") };
            Err(ContainerError::Overwrite { there, path, new, from: source.typed.to_owned() }.into())
        }
        _ => Ok(()),
    }
}

fn open_dir(root: &RootDir, path: &Path) -> io::Result<OwnedFd> {
    root.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Follows symbolic links at the end of a path; what the last one names need not be there.
pub(in crate::container) fn resolve_last(root: &RootDir, path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let link = match root.lstat(&path)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => root.read_link(&path)?,
            _ => return Ok(path),
        };
        path = path.parent().unwrap_or(Path::new("/")).join(link);
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Whether a path ends with `/`, and so can only mean a directory.
pub(super) fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// Whether a path ends with `/.`: what is in the directory is meant, not the directory.
pub(in crate::container) fn contents_only(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(to: &str, is_dir: bool, contents_only: bool, expected: Result<&str, &str>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("dir/sub")).unwrap();
        std::fs::create_dir_all(dir.path().join("other")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("/other", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("gone", dir.path().join("dangling")).unwrap();
        let root = RootDir::open_host(dir.path()).unwrap();
        let source = Shape { is_dir, name: OsStr::new("sub"), contents_only, typed: Path::new("sub") };
        let found = Place::find(&root, Path::new(to), &source, &|dir| ContainerError::NoOutput(dir.to_owned()));
        let found = found.map(|place| {
            let at = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&place.dir)));
            let at = at.unwrap().strip_prefix(dir.path().canonicalize().unwrap()).unwrap().display().to_string();
            format!("{at} {}", String::from_utf8(place.name).unwrap())
        });
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{to} {is_dir} {contents_only}");
    }

    #[test]
    fn copies_go_where_docker_puts_them() {
        check("/new", false, false, Ok(" new"));
        check("/new/", false, false, Err("no such directory"));
        check("/file", false, false, Ok(" file"));
        check("/file/", false, false, Err("not a directory: /file/"));
        check("/other", false, false, Ok("other sub"));
        check("/link", false, false, Ok("other sub"));
        check("/dangling", false, false, Ok(" gone"));
        check("/no/new", false, false, Err("invalid output path: directory \"/no\" does not exist"));
        check("/new", true, false, Ok(" new"));
        check("/file", true, false, Err("cannot copy directory"));
        check("/other", true, false, Ok("other sub"));
        check("/other", true, true, Ok("other "));
        check("/dir", false, false, Err("cannot overwrite directory \"/dir/sub\" with non-directory \"sub\""));
    }
}
