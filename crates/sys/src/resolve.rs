//! Opening below a descriptor by rules: openat2(2), called as its page wants it called.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// How often the kernel may give up before we do. Even a container that renames without a pause is beaten in a few.
const TRIES_MAX: u32 = 1000;

/// Opens what is at `path` below `dir` as openat2(2) does, with `O_CLOEXEC`.
///
/// Where a path has `..` in it, itself or by a link, the kernel can promise that it stays below `dir` only if nothing on
/// the whole machine was renamed or mounted meanwhile; otherwise it says `EAGAIN` and wants to be asked again. It is asked
/// up to a thousand times.
///
/// # Errors
/// Those of openat2(2).
pub fn open(
    dir: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let dir = dir.as_fd();
    for _ in 1..TRIES_MAX {
        match open_once(dir, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    open_once(dir, path, flags, mode, resolve)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks again")]
fn open_once(
    dir: impl AsFd,
    path: impl Arg,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn renames_elsewhere_do_not_keep_a_path_from_being_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("b/../b/../../../../a/b/c", dir.path().join("a/link")).unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        std::fs::write(&one, "").unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let done = AtomicBool::new(false);
        let (refused, failed) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::fs::rename(&one, &other).unwrap();
                    std::fs::rename(&other, &one).unwrap();
                }
            });
            let (mut refused, mut failed) = (0, 0);
            // Until the kernel itself has refused often enough that the test means something.
            while refused < 50 && failed == 0 {
                let flags = OFlags::PATH;
                let how = ResolveFlags::IN_ROOT;
                refused += u32::from(open_once(&root, "a/link", flags, Mode::empty(), how).err() == Some(Errno::AGAIN));
                failed += u32::from(open(&root, "a/link", flags, Mode::empty(), how).is_err());
            }
            done.store(true, Ordering::Relaxed);
            (refused, failed)
        });
        assert_eq!(failed, 0, "after {refused} refusals of the kernel");
    }
}
