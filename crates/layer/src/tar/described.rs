//! A header block together with all its extensions, on the way to an [`Entry`].

use super::header::Header;
use super::pax::Records;
use super::{Limits, sparse};
use crate::attribute;
use crate::path::shown;
use crate::{Device, Entry, Error, Kind, LayerPath, Result, Time};

/// What extension headers said about the entry to come.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) records: Option<Records>,
    /// Of all extension headers, so that there cannot be endlessly many.
    pub(super) bytes: u64,
}

/// All that a tar says about one entry.
pub(super) struct Described {
    pub(super) header: Header,
    pub(super) records: Records,
}

impl Described {
    /// Puts what extension headers said into the header.
    pub(super) fn new(mut header: Header, pending: Pending, globals: &Records) -> Self {
        let mut records = pending.records.unwrap_or_else(|| globals.clone());
        let name = records.sparse.name.take().or(records.path.take()).or(pending.name);
        header.name = name.unwrap_or(header.name);
        header.link = records.link.take().or(pending.link).unwrap_or(header.link);
        header.size = records.size.unwrap_or(header.size);
        header.uid = records.uid.unwrap_or(header.uid);
        header.gid = records.gid.unwrap_or(header.gid);
        Self { header, records }
    }

    /// How much memory its names and attributes take.
    pub(super) fn names_bytes(&self) -> u64 {
        let xattrs: usize = self.records.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
        (self.header.name.len() + self.header.link.len() + xattrs) as u64
    }

    /// The entry of a file without holes.
    pub(super) fn file(self, limits: &Limits) -> Result<Entry> {
        let kind = Kind::File { size_bytes: self.header.size, sparse: None };
        self.entry(kind, limits)
    }

    /// The entry of a file with holes, whose data takes `packed` bytes of the tar.
    pub(super) fn sparse_file(self, numbers: &[u64], real_size: u64, packed: u64, limits: &Limits) -> Result<Entry> {
        let extents =
            sparse::extents(numbers, real_size, packed).map_err(|problem| problem_of(&self.header.name, problem))?;
        self.entry(Kind::File { size_bytes: real_size, sparse: Some(extents) }, limits)
    }

    /// The entry of anything but a file.
    pub(super) fn other(self, limits: &Limits) -> Result<Entry> {
        let device = Device { major: self.header.device.0, minor: self.header.device.1 };
        let kind = match self.header.kind {
            b'1' => Kind::Hardlink { target: self.path(&self.header.link)? },
            b'2' => self.symlink()?,
            b'3' => Kind::Char(self.device(device)?),
            b'4' => Kind::Block(self.device(device)?),
            b'5' | b'D' => Kind::Dir,
            b'6' => Kind::Fifo,
            _ => return Err(problem_of(&self.header.name, "its type is unknown")),
        };
        self.entry(kind, limits)
    }

    /// A device's number, if Linux has such a one.
    fn device(&self, device: Device) -> Result<Device> {
        let fits = device.major <= Device::MAJOR_MAX && device.minor <= Device::MINOR_MAX;
        fits.then_some(device).ok_or_else(|| problem_of(&self.header.name, "the device number is out of range"))
    }

    fn symlink(&self) -> Result<Kind> {
        let target = self.header.link.clone();
        match target.len() {
            0 => Err(problem_of(&self.header.name, "a symbolic link to nothing")),
            length if length > crate::PATH_BYTES_MAX => {
                Err(problem_of(&self.header.name, "the target of a symbolic link is too long"))
            }
            _ if target.contains(&0) => {
                Err(problem_of(&self.header.name, "a name in the PAX header contains a NUL byte"))
            }
            _ => Ok(Kind::Symlink { target }),
        }
    }

    fn path(&self, raw: &[u8]) -> Result<LayerPath> {
        LayerPath::parse(raw).map_err(|source| Error::Path { entry: shown(raw), source })
    }

    fn entry(self, kind: Kind, limits: &Limits) -> Result<Entry> {
        let path = self.path(&self.header.name)?;
        if path.components().count() as u64 > limits.depth {
            return Err(Error::Limit { entry: shown(path.as_bytes()), what: "its depth", limit: limits.depth });
        }
        if path.is_root() && kind != Kind::Dir {
            return Err(problem_of(&self.header.name, "the layer's root is not a directory"));
        }
        if let Some(problem) = self.records.xattrs.iter().find_map(attribute::problem) {
            return Err(problem_of(&self.header.name, problem));
        }
        // The highest number is none: whoever gives a file to it leaves the owner as it is (chown(2)).
        let id = |id: i64| {
            let number = u32::try_from(id).ok().filter(|&id| id != u32::MAX);
            number.ok_or_else(|| problem_of(&self.header.name, "the owner is out of range"))
        };
        let seconds = self.header.mtime;
        Ok(Entry {
            kind,
            mode: self.header.mode,
            uid: id(self.header.uid)?,
            gid: id(self.header.gid)?,
            mtime: self.records.mtime.unwrap_or(Time { seconds, nanoseconds: 0 }),
            xattrs: self.records.xattrs,
            path,
        })
    }
}

/// An error about the entry of this name.
pub(super) fn problem_of(name: &[u8], problem: &'static str) -> Error {
    Error::Header { entry: shown(name), problem }
}
