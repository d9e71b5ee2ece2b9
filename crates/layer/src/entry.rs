//! One entry of a layer: what is at a path, without the bytes of its content.

use crate::LayerPath;

/// One thing at one path, as a layer says it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where, below the layer's root.
    pub path: LayerPath,
    /// What.
    pub kind: Kind,
    /// Permission, set-id and sticky bits: at most `0o7777`.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The owning group.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Time,
    /// Extended attributes, sorted by name, each name once.
    pub xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// How long the file is, holes included.
        size_bytes: u64,
        /// Where data is, ascending and not overlapping, if the file has holes; their bytes follow one another in the tar.
        sparse: Option<Vec<Extent>>,
    },
    /// A directory.
    Dir,
    /// A symbolic link; what it says is not looked at.
    Symlink {
        /// Where it points, as it is.
        target: Vec<u8>,
    },
    /// One more name of a file.
    Hardlink {
        /// The name it is known by already.
        target: LayerPath,
    },
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Device {
    /// The highest major number: it has 12 bits (`MINORBITS` of Linux).
    pub const MAJOR_MAX: u32 = (1 << 12) - 1;
    /// The highest minor number: it has 20 bits.
    pub const MINOR_MAX: u32 = (1 << 20) - 1;
}

/// A point in time; `nanoseconds` counts forward from `seconds` also before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// With its namespace: `user.…`, `security.capability`.
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// What a tar says about an entry in Windows' words: a PAX record as it stands there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vendor {
    /// Begins with [`WINDOWS`](Self::WINDOWS) or is [`CREATED`](Self::CREATED).
    pub key: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

impl Vendor {
    /// What the keys begin with.
    pub const WINDOWS: &'static [u8] = b"MSWINDOWS.";
    /// The key that says when a file was made.
    pub const CREATED: &'static [u8] = b"LIBARCHIVE.creationtime";
}

impl Entry {
    /// A directory nobody described: what an archive leaves out and something in it needs.
    pub fn implicit_dir(path: LayerPath) -> Self {
        Self { path, kind: Kind::Dir, mode: 0o755, uid: 0, gid: 0, mtime: Time::default(), xattrs: Vec::new() }
    }

    /// How many bytes of content follow the entry's header in a tar: holes do not count.
    pub fn packed_bytes(&self) -> u64 {
        match &self.kind {
            Kind::File { sparse: Some(extents), .. } => extents.iter().map(|extent| extent.length).sum(),
            Kind::File { size_bytes, sparse: None } => *size_bytes,
            _ => 0,
        }
    }

    /// How many bytes it counts in a layer's size: a file's data, and what a symbolic link says, as Docker counts.
    pub fn content_bytes(&self) -> u64 {
        match &self.kind {
            Kind::Symlink { target } => target.len() as u64,
            _ => self.packed_bytes(),
        }
    }

    /// The value of one extended attribute.
    pub fn xattr(&self, name: &[u8]) -> Option<&[u8]> {
        self.xattrs.iter().find(|xattr| xattr.name == name).map(|xattr| xattr.value.as_slice())
    }

    /// Whether it is a regular file, and not one more name of one.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File { .. })
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir)
    }
}
