//! Where a path really is: symbolic links followed, nothing leaves the root.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::FileType;
use strata_layer::LayerPath;
use strata_sys::root_dir::RootDir;

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// Follows all links of a path, that at its end, too. What is not there is taken as it stands.
pub(crate) fn resolve(root: &RootDir, path: &[u8]) -> io::Result<LayerPath> {
    let mut todo: Vec<Vec<u8>> = parts(path);
    let mut found = LayerPath::root();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == b".." {
            found = found.parent().unwrap_or_default();
            continue;
        }
        let next = found.join(&part).map_err(io::Error::other)?;
        let at = Path::new(OsStr::from_bytes(next.as_bytes()));
        let stat = root.lstat(at)?;
        if !stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink) {
            found = next;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(rustix::io::Errno::LOOP.into());
        }
        let target = root.read_link(at)?;
        let target = target.as_os_str().as_bytes();
        if target.starts_with(b"/") {
            found = LayerPath::root();
        }
        todo.extend(parts(target));
    }
    Ok(found)
}

/// The components, the last one first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for (target, link) in [("/a", "abs"), ("../../../a/b", "a/up"), ("loop", "loop"), ("gone/x", "dangling")] {
            symlink(target, dir.path().join(link)).unwrap();
        }
        let root = RootDir::open_host(dir.path()).unwrap();
        let check = |path: &str, expected: &str| {
            assert_eq!(resolve(&root, path.as_bytes()).unwrap().to_string(), expected, "{path}");
        };
        check("abs/b", "/a/b");
        check("/a/up/new/../file", "/a/b/file");
        check("../../a", "/a");
        check("dangling/y", "/gone/x/y");
        assert!(resolve(&root, b"loop").is_err());
    }
}
