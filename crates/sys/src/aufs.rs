//! Unions by aufs (aufs(5)).

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;
use strata_types::mount::{Access, Upper};

use crate::isolate;
use crate::layer_mounts::{on_thread, open_tree};

/// mount(2) takes one page with a zero at its end.
const DATA_BYTES_MAX: usize = 4095;
/// Aufs mounts by path only. Nobody looks below this one in the namespace that it is mounted in.
const PLACE: &str = "/sys";

/// Mounts a union and gives it as a detached mount.
pub(crate) fn mount(lower: &[PathBuf], upper: Option<&Upper>, access: Access) -> io::Result<OwnedFd> {
    let options = options(lower, upper)?;
    let flags = match access {
        Access::ReadOnly => MountFlags::RDONLY,
        Access::ReadWrite => MountFlags::empty(),
    };
    on_thread(|| {
        isolate::own_mounts()?;
        for (index, data) in options.iter().enumerate() {
            if index == 0 {
                rustix::mount::mount("none", PLACE, "aufs", flags, Some(data.as_c_str()))?;
            } else {
                rustix::mount::mount_remount(PLACE, flags, data.as_c_str())?;
            }
        }
        open_tree(Path::new(PLACE))
    })
}

/// What is given with the mount, and with each remount after it until all branches are there: the writable one, then the
/// lower ones (the uppermost first), in which marks of what is gone count (`+wh`).
///
/// `dio` lets programs open files with `O_DIRECT`. The table of inode numbers is a file that aufs removes at once; a union
/// that cannot be written has none.
fn options(lower: &[PathBuf], upper: Option<&Upper>) -> io::Result<Vec<CString>> {
    let tail = match upper {
        Some(upper) => [b",dio,xino=", path(&upper.work.join("xino"))?.as_slice()].concat(),
        None => b",dio,noxino".to_vec(),
    };
    let mut branches = Vec::new();
    if let Some(upper) = upper {
        branches.push([path(&upper.dir)?.as_slice(), b"=rw"].concat());
    }
    for dir in lower {
        branches.push([path(dir)?.as_slice(), b"=ro+wh"].concat());
    }
    let mut all = Vec::new();
    let mut data = b"br".to_vec();
    for branch in branches {
        let is_first = data == b"br" || data.is_empty();
        let room = if all.is_empty() { tail.len() } else { 0 };
        let joint: &[u8] = match (all.is_empty(), is_first) {
            (true, true) => b"=",
            (true, false) => b":",
            (false, true) => b"append:",
            (false, false) => b",append:",
        };
        if !is_first && data.len() + joint.len() + branch.len() + room > DATA_BYTES_MAX {
            if all.is_empty() {
                data.extend(&tail);
            }
            all.push(std::mem::take(&mut data));
            data.extend(b"append:");
        } else {
            data.extend(joint);
        }
        data.extend(branch);
    }
    if all.is_empty() {
        data.extend(&tail);
    }
    all.push(data);
    all.into_iter().map(|data| CString::new(data).map_err(Into::into)).collect()
}

/// A path as an option has it: aufs knows no way to say these characters otherwise.
fn path(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| matches!(byte, b':' | b',' | b'=')) {
        let what = "aufs takes no path with a colon, a comma or an equals sign";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper() -> Upper {
        Upper { dir: "/s/c/upper".into(), work: "/s/c/work".into(), volatile: false }
    }

    #[track_caller]
    fn check(lower: &[PathBuf], upper: Option<&Upper>, expected: &[&str]) {
        let options = options(lower, upper).unwrap();
        assert_eq!(options.iter().map(|data| data.to_str().unwrap()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn options_are_those_that_a_kernel_with_aufs_took() {
        let lower = ["/s/l/1", "/s/l/0"].map(PathBuf::from);
        check(&lower, Some(&upper()), &["br=/s/c/upper=rw:/s/l/1=ro+wh:/s/l/0=ro+wh,dio,xino=/s/c/work/xino"]);
        check(&lower, None, &["br=/s/l/1=ro+wh:/s/l/0=ro+wh,dio,noxino"]);
        check(&[], Some(&upper()), &["br=/s/c/upper=rw,dio,xino=/s/c/work/xino"]);
    }

    #[test]
    fn many_branches_are_appended_by_remounts_in_their_order() {
        let lower: Vec<PathBuf> = (0..127).map(|number| format!("/s/layers/{number:064}").into()).collect();
        let all = options(&lower, Some(&upper())).unwrap();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|data| data.as_bytes().len() <= DATA_BYTES_MAX));
        let text = all.iter().map(|data| data.to_str().unwrap()).collect::<Vec<_>>();
        assert!(text[0].starts_with("br=/s/c/upper=rw:") && text[0].ends_with("=ro+wh,dio,xino=/s/c/work/xino"));
        assert!(text[1].starts_with("append:/s/layers/") && text[1].contains("=ro+wh,append:/s/layers/"));
        let seen: Vec<usize> =
            text.join(",").split("/s/layers/").skip(1).map(|branch| branch[..64].parse().unwrap()).collect();
        assert_eq!(seen, (0..127).collect::<Vec<_>>());
    }

    #[test]
    fn paths_that_options_cannot_say_are_refused() {
        for path in ["/a:b", "/a,b", "/a=b"] {
            assert_eq!(options(&[path.into()], None).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }
}
