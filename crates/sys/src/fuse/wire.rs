//! What the kernel and a filesystem in user space say to each other (linux/fuse.h, protocol 7.31 and later): requests are
//! read from `/dev/fuse`, one a read, and answered by a write.
//!
//! ```text
//! request   length: u32 . opcode: u32 . unique: u64 . node: u64 . uid: u32 . gid: u32 . pid: u32 . more: u32 . body
//! answer    length: u32 . -errno: i32 . unique: u64 . body
//! ```
//!
//! All numbers are the machine's. Names end with a zero.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::Stat;
use rustix::io::{Errno, Result};

/// The newest version whose structures are written here; the kernel leaves out what it does not know.
pub(super) const VERSION: (u32, u32) = (7, 40);
/// The oldest kernel's that is served: Linux 5.4.
pub(super) const MINOR_MIN: u32 = 31;
/// The node that is the root of the filesystem.
pub(super) const ROOT: u64 = 1;

/// What a request asks for.
pub(super) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const IOCTL: u32 = 39;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const TMPFILE: u32 = 51;
}

/// What both sides can do, as bits of the first request and its answer.
pub(super) mod feature {
    pub(crate) const ASYNC_READ: u64 = 1 << 0;
    /// `O_TRUNC` comes with the opening.
    pub(crate) const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    /// The mask comes with what is made: a directory's default list goes before it.
    pub(crate) const DONT_MASK: u64 = 1 << 6;
    pub(crate) const DO_READDIRPLUS: u64 = 1 << 13;
    pub(crate) const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
    pub(crate) const POSIX_ACL: u64 = 1 << 20;
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    pub(crate) const CACHE_SYMLINKS: u64 = 1 << 23;
    /// The features have a second word.
    pub(crate) const INIT_EXT: u64 = 1 << 30;
    /// Files are read and written by the kernel itself. Linux 6.9.
    pub(crate) const PASSTHROUGH: u64 = 1 << 37;
    /// Mounts may show mapped ids. Linux 6.12.
    pub(crate) const ALLOW_IDMAP: u64 = 1 << 40;
}

/// Bits of [`opcode::SETATTR`].
pub(super) mod set {
    pub(crate) const MODE: u32 = 1;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
}

/// What the kernel may do with an open file.
pub(super) mod opened {
    /// Its pages stay when it is opened again.
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    /// It is read and written by the kernel itself.
    pub(crate) const PASSTHROUGH: u32 = 1 << 7;
}

const REQUEST_BYTES: usize = 40;
const ANSWER_BYTES: usize = 16;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) opcode: u32,
    /// Its number.
    pub(super) unique: u64,
    /// What it is about.
    pub(super) node: u64,
    /// Who asks, of requests that make something. The kernel tells no one's of others, because mounts may map them.
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The process that asks, as we see it.
    pid: u32,
    pub(super) body: Body<'a>,
}

impl<'a> Request<'a> {
    /// Takes one apart.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut head = Body(bytes);
        let length = head.u32()? as usize;
        if length != bytes.len() || length < REQUEST_BYTES {
            return Err(Errno::INVAL);
        }
        let (opcode, unique, node) = (head.u32()?, head.u64()?, head.u64()?);
        let (uid, gid) = (head.u32()?, head.u32()?);
        let pid = head.u32()?;
        // The length of extensions, which we do not ask for.
        head.skip(4)?;
        Ok(Self { opcode, unique, node, uid, gid, pid, body: head })
    }

    /// Whether the machine's root asks. The process waits for the answer, so that it is still there.
    pub(super) fn is_of_root(&self) -> bool {
        const NO_ONE: u32 = u32::MAX;
        match self.uid {
            NO_ONE => rustix::fs::stat(format!("/proc/{}", self.pid)).is_ok_and(|process| process.st_uid == 0),
            uid => uid == 0,
        }
    }
}

/// What is left of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.take(4)?.try_into().map(u32::from_ne_bytes).map_err(|_| Errno::INVAL)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.take(8)?.try_into().map(u64::from_ne_bytes).map_err(|_| Errno::INVAL)
    }

    /// Passes over what is of no interest.
    pub(super) fn skip(&mut self, bytes: usize) -> Result<()> {
        self.take(bytes).map(drop)
    }

    /// Text up to a zero.
    pub(super) fn text(&mut self) -> Result<&'a OsStr> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        let text = self.take(length)?;
        self.skip(1)?;
        Ok(OsStr::from_bytes(text))
    }

    /// The name of something in a directory.
    pub(super) fn name(&mut self) -> Result<&'a OsStr> {
        let name = self.text()?;
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
            return Err(Errno::INVAL);
        }
        Ok(name)
    }

    /// The next `length` bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        self.take(length)
    }
}

/// An answer being written.
#[derive(Debug)]
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// One that says that all is well, and nothing more yet.
    pub(super) fn new() -> Self {
        Self(vec![0; ANSWER_BYTES])
    }

    /// The whole of it, for the request with the number `unique`.
    pub(super) fn finish(mut self, unique: u64) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..ANSWER_BYTES].copy_from_slice(&unique.to_ne_bytes());
        self.0
    }

    /// One that says what went wrong.
    pub(super) fn failure(errno: Errno, unique: u64) -> Vec<u8> {
        let mut answer = Self::new();
        answer.0[4..8].copy_from_slice(&(-errno.raw_os_error()).to_ne_bytes());
        answer.finish(unique)
    }

    /// How long its body is.
    pub(super) fn len(&self) -> usize {
        self.0.len() - ANSWER_BYTES
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.0.extend(number.to_ne_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend(number.to_ne_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.0.extend(number.to_ne_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Lets `read` fill in up to `length` bytes, and keeps as many as it says.
    pub(super) fn fill(&mut self, length: usize, read: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<()> {
        let start = self.0.len();
        self.0.resize(start + length, 0);
        let filled = read(&mut self.0[start..])?;
        self.0.truncate(start + filled);
        Ok(())
    }

    /// Zeros up to a multiple of 8.
    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    /// `struct fuse_attr`.
    fn attributes(&mut self, stat: &Stat) {
        for number in [stat.st_ino, stat.st_size as u64, stat.st_blocks as u64] {
            self.u64(number);
        }
        for seconds in [stat.st_atime, stat.st_mtime, stat.st_ctime] {
            self.u64(seconds as u64);
        }
        for nanoseconds in [stat.st_atime_nsec, stat.st_mtime_nsec, stat.st_ctime_nsec] {
            self.u32(nanoseconds as u32);
        }
        for number in [stat.st_mode, stat.st_nlink as u32, stat.st_uid, stat.st_gid] {
            self.u32(number);
        }
        self.u32(device_number(stat.st_rdev));
        self.u32(stat.st_blksize as u32);
        self.u32(0);
    }

    /// `struct fuse_attr_out`: what something is, and for how many seconds the kernel may believe it.
    pub(super) fn attributes_for(&mut self, stat: &Stat, seconds: u64) {
        self.u64(seconds);
        self.u64(0);
        self.attributes(stat);
    }

    /// `struct fuse_entry_out`: what has a name. Node 0 stands for nothing.
    pub(super) fn entry(&mut self, node: u64, stat: Option<&Stat>, seconds: Seconds) {
        self.u64(node);
        self.u64(0);
        self.u64(seconds.name);
        self.u64(seconds.attributes);
        self.u64(0);
        match stat {
            Some(stat) => self.attributes(stat),
            None => self.0.resize(self.0.len() + ATTRIBUTES_BYTES, 0),
        }
    }

    /// `struct fuse_open_out`.
    pub(super) fn opened(&mut self, handle: u64, flags: u32, backing: i32) {
        self.u64(handle);
        self.u32(flags);
        self.u32(backing as u32);
    }

    /// `struct fuse_dirent`: `next` is where a reader goes on after it.
    pub(super) fn dirent(&mut self, inode: u64, next: u64, kind: u32, name: &OsStr) {
        self.u64(inode);
        self.u64(next);
        self.u32(name.len() as u32);
        self.u32(kind);
        self.bytes(name.as_bytes());
        self.pad();
    }

    /// How long an entry of a directory is, with what it is or without.
    pub(super) fn dirent_bytes(name: &OsStr, plus: bool) -> usize {
        (DIRENT_BYTES + name.len()).next_multiple_of(8) + if plus { ENTRY_BYTES } else { 0 }
    }
}

const ATTRIBUTES_BYTES: usize = 88;
const ENTRY_BYTES: usize = 128;
const DIRENT_BYTES: usize = 24;

/// For how many seconds the kernel may believe what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds {
    /// What a name stands for.
    pub(super) name: u64,
    /// What something is.
    pub(super) attributes: u64,
}

/// A device's number in 32 bits, as the kernel packs it (`new_encode_dev`).
fn device_number(device: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The device of such a number.
pub(super) fn device_of(number: u32) -> u64 {
    rustix::fs::makedev((number & 0xf_ff00) >> 8, (number & 0xff) | ((number >> 12) & 0xf_ff00))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernels() {
        // From a C program with linux/fuse.h.
        let stat = rustix::fs::stat("/").unwrap();
        let length = |write: &dyn Fn(&mut Answer)| {
            let mut answer = Answer::new();
            write(&mut answer);
            answer.len()
        };
        assert_eq!(length(&|answer| answer.attributes(&stat)), ATTRIBUTES_BYTES);
        assert_eq!(length(&|answer| answer.attributes_for(&stat, 1)), 104);
        let seconds = Seconds { name: 1, attributes: 1 };
        assert_eq!(length(&|answer| answer.entry(1, Some(&stat), seconds)), ENTRY_BYTES);
        assert_eq!(length(&|answer| answer.entry(0, None, seconds)), ENTRY_BYTES);
        assert_eq!(length(&|answer| answer.opened(1, 0, 0)), 16);
        for name in ["a", "12345678", "a longer name"].map(OsStr::new) {
            assert_eq!(length(&|answer| answer.dirent(1, 1, 4, name)), Answer::dirent_bytes(name, false));
        }
    }

    #[test]
    fn devices_survive_their_packing() {
        for (major, minor) in [(0, 0), (1, 3), (259, 70_000), (4095, 0xf_ffff)] {
            let device = rustix::fs::makedev(major, minor);
            assert_eq!(device_of(device_number(device)), device, "{major}:{minor}");
        }
    }

    #[test]
    fn what_is_cut_short_or_leads_elsewhere_is_refused() {
        let request = |body: &[u8]| {
            let mut bytes = ((REQUEST_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
            bytes.extend(opcode::LOOKUP.to_ne_bytes());
            bytes.resize(REQUEST_BYTES, 0);
            [bytes.as_slice(), body].concat()
        };
        let whole = request(b"name\0");
        assert_eq!(Request::parse(&whole).unwrap().body.name().unwrap(), "name");
        for length in 0..whole.len() {
            assert_eq!(Request::parse(&whole[..length]).err(), Some(Errno::INVAL), "{length} bytes");
        }
        for name in [&b"name"[..], b"\0", b".\0", b"..\0", b"a/b\0", b""] {
            assert_eq!(Request::parse(&request(name)).unwrap().body.name(), Err(Errno::INVAL), "{name:?}");
        }
    }
}
