//! Files that share their blocks until one of them is written (ioctl_ficlonerange(2)): btrfs, XFS, bcachefs.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What the beginning of a shared piece has to be a multiple of, in both files: the block size of the usual filesystems. On
/// one with larger blocks nothing is shared.
pub const BLOCK_BYTES: u64 = 4096;

/// Lets `bytes` of `to` from `to_offset` on be the blocks of `from` at `from_offset`. The length is a multiple of a block,
/// or reaches to the end of `from`. False, and nothing is changed, where the filesystem cannot.
pub fn share(
    from: BorrowedFd<'_>,
    from_offset: u64,
    bytes: u64,
    to: BorrowedFd<'_>,
    to_offset: u64,
) -> io::Result<bool> {
    let range = libc::file_clone_range {
        src_fd: from.as_raw_fd().into(),
        src_offset: from_offset,
        src_length: bytes,
        dest_offset: to_offset,
    };
    // SAFETY: the request reads a structure that outlives the call; both descriptors are open.
    let done = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE, &raw const range) };
    if done == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // Another filesystem, one that does not share, a file that is not to be shared, or offsets it does not like.
        Some(
            Errno::XDEV
            | Errno::OPNOTSUPP
            | Errno::NOSYS
            | Errno::NOTTY
            | Errno::INVAL
            | Errno::PERM
            | Errno::TXTBSY
            | Errno::BADF,
        ) => Ok(false),
        _ => Err(error),
    }
}

/// Whether files in the directory `dir` can share blocks. Writes nothing.
pub fn works_in(dir: &Path) -> bool {
    let nameless =
        || rustix::fs::open(dir, OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
    let (Ok(one), Ok(other)) = (nameless(), nameless()) else { return false };
    // The filesystem refuses before it looks at the length, which is nothing.
    share(one.as_fd(), 0, 0, other.as_fd(), 0).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_shares_no_blocks() {
        assert!(!works_in(Path::new("/dev/shm")));
        assert!(!works_in(Path::new("/nosuch")));
    }
}
