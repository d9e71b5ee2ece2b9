//! How much a tar may ask for.

/// What a tar may contain at most; whoever unpacks states it, so that nobody is surprised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one PAX header or GNU long name.
    pub extension_bytes: u64,
    /// Bytes of names, link targets and attributes of all entries: what has to be kept in memory.
    pub names_bytes: u64,
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Attributes of one entry.
    pub xattrs: u64,
    /// Bytes of one attribute's value.
    pub xattr_bytes: u64,
    /// Extents of one sparse file.
    pub extents: u64,
    /// Components of one path.
    pub depth: u64,
    /// Bytes of the whole tar, after decompression.
    pub tar_bytes: u64,
    /// How many times larger the tar may be than its compressed form, once it is larger than `ratio_free_bytes`.
    pub ratio: u64,
    /// Below this size of the tar the ratio does not matter.
    pub ratio_free_bytes: u64,
}

impl Limits {
    /// Far above every image seen in the wild, and below what would hurt a host.
    pub const GENEROUS: Self = Self {
        // The kernel takes 64 KiB for one attribute and 64 KiB for all names; ACLs and capabilities are small.
        extension_bytes: 1 << 20,
        // A distribution with half a million files needs 50 MB.
        names_bytes: 512 << 20,
        entries: 4_000_000,
        xattrs: 512,
        // One less than XATTR_SIZE_MAX: what an EROFS image has room for. Ext4 usually takes less than 4 KiB.
        xattr_bytes: 65535,
        extents: 1 << 20,
        depth: crate::DEPTH_MAX as u64,
        // An image with a model inside has layers of hundreds of gigabytes.
        tar_bytes: 1 << 40,
        // Deflate reaches 1032; zeroed disk images inside layers come near it.
        ratio: 2000,
        ratio_free_bytes: 1 << 30,
    };
}
