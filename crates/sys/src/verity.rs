//! fs-verity: a file that nobody can change any more, and of which each block is compared with a digest when it is read
//! (<https://docs.kernel.org/filesystems/fsverity.html>). What the disk has damaged is then an error, not other data.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use crate::clock;

/// `struct fsverity_enable_arg`.
#[repr(C)]
struct EnableArg {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt: u64,
    signature_size: u32,
    reserved1: u32,
    signature: u64,
    reserved2: [u64; 11],
}

/// `_IOW('f', 133, struct fsverity_enable_arg)`.
const FS_IOC_ENABLE_VERITY: u32 = 0x4080_6685;
/// `FS_VERITY_HASH_ALG_SHA256`.
const SHA256: u32 = 1;
/// How long a file may go on being open for writing in a process that was forked meanwhile: until that executes its program.
const BUSY_LOOKS: u32 = 200;
const BUSY_LOOK: Duration = Duration::from_millis(5);
/// The largest blocks that are compared: a page. Filesystems with smaller ones want theirs, and Linux 6.3.
const BLOCK_BYTES_MAX: i64 = 4096;

/// Seals the file at `path`, which nobody may have open for writing but a copy of this process that is about to execute
/// another program: that is waited for, a second at most. True if it is sealed, now or already; false where the
/// filesystem cannot, as most cannot: ext4 and f2fs have to be made, or tuned, for it.
pub fn seal(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let block_size = u32::try_from(rustix::fs::fstatfs(&file)?.f_bsize.min(BLOCK_BYTES_MAX)).unwrap_or(0);
    let argument = EnableArg {
        version: 1,
        hash_algorithm: SHA256,
        block_size,
        salt_size: 0,
        salt: 0,
        signature_size: 0,
        reserved1: 0,
        signature: 0,
        reserved2: [0; 11],
    };
    when_free(|| {
        // SAFETY: the request reads a structure that outlives the call and names no other memory; the descriptor is open.
        match unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_ENABLE_VERITY as _, &raw const argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// Seals by `enable`, again and again while the file is busy.
fn when_free(mut enable: impl FnMut() -> io::Result<()>) -> io::Result<bool> {
    let mut looks = 0..BUSY_LOOKS;
    loop {
        let Err(error) = enable() else { return Ok(true) };
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::INTR) => {}
            Some(Errno::TXTBSY) if looks.next().is_some() => clock::pause(BUSY_LOOK),
            Some(Errno::EXIST) => return Ok(true),
            // The last is said of blocks that the kernel does not take.
            Some(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOPKG | Errno::INVAL) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Whether a file is sealed.
pub fn is_sealed(file: impl AsFd) -> io::Result<bool> {
    /// `STATX_ATTR_VERITY`.
    const VERITY: u64 = 0x0010_0000;
    let stat = rustix::fs::statx(file, "", rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::empty())?;
    Ok(stat.stx_attributes.bits() & VERITY != 0)
}

/// Whether files in the directory `dir` can be sealed. Leaves nothing behind.
pub fn works_in(dir: &Path) -> io::Result<bool> {
    let path = dir.join(format!(".verity-{}", crate::random::hex::<8>()));
    let sealed = std::fs::write(&path, b"x").and_then(|()| seal(&path));
    std::fs::remove_file(&path)?;
    sealed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_busy_for_a_moment_is_sealed_and_one_that_stays_so_is_not() {
        let answers = |busy: u32, then: fn() -> io::Result<()>| {
            let mut busy = 0..busy;
            when_free(move || busy.next().map_or_else(then, |_| Err(Errno::TXTBSY.into())))
        };
        assert!(answers(BUSY_LOOKS, || Ok(())).unwrap());
        assert!(!answers(1, || Err(Errno::NOTTY.into())).unwrap());
        let refused = answers(BUSY_LOOKS + 1, || Ok(())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ExecutableFileBusy);
    }

    #[test]
    fn a_sealed_file_is_never_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let sealed = seal(&path).unwrap();
        assert_eq!((sealed, sealed), (works_in(dir.path()).unwrap(), is_sealed(File::open(&path).unwrap()).unwrap()));
        assert_eq!(sealed, File::options().write(true).open(&path).is_err());
        assert_eq!(seal(&path).unwrap(), sealed);
        assert!(crate::lock::is_open_here_only(&File::open(&path).unwrap()));
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 100_000]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
