//! Writes the outer tar of an archive: regular files and directories of root, nothing else.

use std::io::{self, Read, Write};

const BLOCK_BYTES: usize = 512;

/// The largest size eleven octal digits can say; beyond it GNU's base-256 is used, which everybody reads.
const OCTAL_SIZE_MAX: u64 = 0o777_7777_7777;

/// A tar that is being written.
pub(crate) struct TarWriter<'a> {
    target: &'a mut dyn Write,
}

impl<'a> TarWriter<'a> {
    pub(crate) fn new(target: &'a mut dyn Write) -> Self {
        Self { target }
    }

    /// Adds a directory; `name` ends with a slash.
    pub(crate) fn dir(&mut self, name: &str, mtime: i64) -> io::Result<()> {
        self.target.write_all(&header(name, b'5', 0o755, 0, mtime))
    }

    /// Adds a file that is at hand.
    pub(crate) fn file(&mut self, name: &str, mtime: i64, content: &[u8]) -> io::Result<()> {
        self.target.write_all(&header(name, b'0', 0o644, content.len() as u64, mtime))?;
        self.target.write_all(content)?;
        self.pad(content.len() as u64)
    }

    /// Adds a file of `size_bytes` from a reader; `tell` hears how far it is and may end it.
    pub(crate) fn stream(
        &mut self,
        name: &str,
        mtime: i64,
        size_bytes: u64,
        content: &mut dyn Read,
        tell: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        self.target.write_all(&header(name, b'0', 0o644, size_bytes, mtime))?;
        let mut chunk = vec![0; 256 * 1024];
        let mut done = 0;
        loop {
            let count = match content.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.target.write_all(&chunk[..count])?;
            done += count as u64;
            tell(done)?;
        }
        if done != size_bytes {
            return Err(io::Error::other(format!("{name} has {done} bytes, not {size_bytes}")));
        }
        self.pad(size_bytes)
    }

    /// Ends the tar.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.target.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.target.flush()
    }

    fn pad(&mut self, written: u64) -> io::Result<()> {
        let over = usize::try_from(written % BLOCK_BYTES as u64).expect("below 512");
        if over == 0 { Ok(()) } else { self.target.write_all(&[0; BLOCK_BYTES][over..]) }
    }
}

/// A ustar header (POSIX pax(1)); all our names are short.
fn header(name: &str, kind: u8, mode: u32, size_bytes: u64, mtime: i64) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size_bytes <= OCTAL_SIZE_MAX {
        put(124, format!("{size_bytes:011o}\0").as_bytes());
    } else {
        put(124, &[0x80]);
        put(128, &size_bytes.to_be_bytes());
    }
    put(136, format!("{:011o}\0", mtime.max(0)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::super::tar_index;
    use super::*;

    #[test]
    fn what_is_written_is_found_again() {
        let mut bytes = Vec::new();
        let mut tar = TarWriter::new(&mut bytes);
        tar.dir("blobs/", 1).unwrap();
        tar.file("blobs/a", 2, b"abc").unwrap();
        tar.stream("b", 3, 513, &mut &[7u8; 513][..], &mut |_| Ok(())).unwrap();
        tar.finish().unwrap();
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        let index = tar_index::read(&file).unwrap();
        let sizes: Vec<_> = index.iter().map(|(name, entry)| (name.as_str(), entry.size_bytes())).collect();
        assert_eq!(sizes, [("b", Some(513)), ("blobs/a", Some(3))]);
    }

    #[test]
    fn a_huge_size_is_said_in_base_256() {
        let block = header("x", b'0', 0o644, 1 << 40, 0);
        assert_eq!(tar_index::number(&block[124..136]), Some(1 << 40));
    }
}
