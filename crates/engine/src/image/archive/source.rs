//! Where an archive's files come from: a directory, or a tar that can be read in any order.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use strata_layer::compress::{Decoder, Format, SNIFF_BYTES, sniff};

use super::tar_index::{self, Entry, clean};

/// How many links may lead to a file.
const LINKS_MAX: usize = 8;

/// An archive that is open.
#[derive(Debug)]
pub(crate) enum Bundle {
    /// An OCI layout directory.
    Dir(File),
    /// A tar.
    Tar { file: File, entries: BTreeMap<String, Entry> },
}

/// One of its files.
pub(crate) struct Member {
    /// How long it is.
    pub(crate) size_bytes: u64,
    /// Its bytes.
    pub(crate) reader: Box<dyn Read + Send>,
}

impl Bundle {
    /// Opens a directory.
    pub(crate) fn dir(path: &Path) -> io::Result<Self> {
        Ok(Self::Dir(File::open(path)?))
    }

    /// Opens a file. A plain tar is read where it is; a compressed one is unpacked into `spool_dir` first, without a
    /// name, so that it vanishes with the process. So is what comes from a pipe.
    pub(crate) fn file(mut file: File, spool_dir: &Path) -> io::Result<Self> {
        let is_file = file.metadata()?.is_file();
        let start = if is_file { file.stream_position()? } else { 0 };
        let mut head = Vec::with_capacity(SNIFF_BYTES);
        (&mut file).take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
        let format = sniff(&head)?;
        if is_file && start == 0 && format == Format::Plain {
            let entries = tar_index::read(&file)?;
            return Ok(Self::Tar { file, entries });
        }
        if is_file {
            file.seek(SeekFrom::Start(start))?;
            return Self::spool(file, spool_dir);
        }
        Self::spool(io::Cursor::new(head).chain(file), spool_dir)
    }

    fn spool(source: impl Read, spool_dir: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(spool_dir, flags, Mode::RUSR | Mode::WUSR)?);
        io::copy(&mut Decoder::new(source)?, &mut file)?;
        let entries = tar_index::read(&file)?;
        Ok(Self::Tar { file, entries })
    }

    /// Whether there is a file of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.open(name).is_ok_and(|member| member.is_some())
    }

    /// Opens a file; `None` if there is none.
    pub(crate) fn open(&self, name: &str) -> io::Result<Option<Member>> {
        match self {
            Self::Dir(dir) => open_in(dir, name),
            Self::Tar { file, entries } => {
                let mut name = clean(name);
                for _ in 0..LINKS_MAX {
                    match entries.get(&name) {
                        Some(Entry::File { offset, size_bytes }) => {
                            let part = Part { file: file.try_clone()?, offset: *offset, left: *size_bytes };
                            return Ok(Some(Member { size_bytes: *size_bytes, reader: Box::new(part) }));
                        }
                        Some(Entry::Link(target)) => name.clone_from(target),
                        None => return Ok(None),
                    }
                }
                Ok(None)
            }
        }
    }

    /// Reads a whole file of at most `limit_bytes`; `None` if there is none.
    pub(crate) fn read(&self, name: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(member) = self.open(name)? else { return Ok(None) };
        if member.size_bytes > limit_bytes {
            let problem = format!("{name} has {} bytes, more than {limit_bytes}", member.size_bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let mut bytes = Vec::new();
        member.reader.take(limit_bytes).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Opens a file below a directory; nothing in an archive leads out of it.
fn open_in(dir: &File, name: &str) -> io::Result<Option<Member>> {
    let path = PathBuf::from(clean(name));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match strata_sys::resolve::open(dir, &path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then(|| Member { size_bytes: metadata.len(), reader: Box::new(file) }))
}

/// A part of a file, read at an offset of its own.
struct Part {
    file: File,
    offset: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
