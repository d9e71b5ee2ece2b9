//! Reading the small files of proc(5), sysfs(5) and cgroups(7).
//!
//! They have no length to prepare for: who asks for it, as [`std::fs::read_to_string`] does, makes the kernel look them up
//! once more, and then reads in many small pieces.

use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// As much as most of them have.
const BYTES_USUAL: usize = 2048;

/// Reads a file of the kernel's, whatever its length.
///
/// # Errors
/// As opening and reading, and `InvalidData` if it is not UTF-8.
pub fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let file = rustix::fs::open(path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(BYTES_USUAL);
    loop {
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) => bytes.reserve(BYTES_USUAL / 2),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_the_standard_library_reads() {
        // The last has more than is usual.
        for path in ["/proc/self/uid_map", "/proc/sys/kernel/random/boot_id", "/proc/self/stat", "/proc/filesystems"] {
            let (ours, theirs) = (read(path).unwrap(), std::fs::read_to_string(path).unwrap());
            assert_eq!(ours.split(' ').count(), theirs.split(' ').count(), "{path}");
            assert!(!ours.is_empty(), "{path}");
        }
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("long");
        std::fs::write(&long, "0123456789".repeat(1000)).unwrap();
        assert_eq!(read(&long).unwrap(), std::fs::read_to_string(&long).unwrap());
        assert_eq!(read(dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&long, [0xff]).unwrap();
        assert_eq!(read(&long).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
