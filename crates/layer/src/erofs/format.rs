//! Numbers of the EROFS format.

use crate::Xattr;

/// Bytes of a block, as a power of two: tar's alignment.
pub(super) const BLOCK_BITS: u8 = 9;
pub(super) const BLOCK_BYTES: usize = 1 << BLOCK_BITS;
/// Where the superblock is.
pub(super) const SUPER_OFFSET: usize = 1024;
pub(super) const SUPER_BYTES: usize = 128;
pub(super) const MAGIC: u32 = 0xe0f5_e1e2;
pub(super) const DEVICE_SLOT_BYTES: usize = 128;
/// In units of a slot: right after the superblock.
pub(super) const DEVICE_SLOT: u16 = ((SUPER_OFFSET + SUPER_BYTES) / DEVICE_SLOT_BYTES) as u16;
/// Where inodes begin in an image with one tar. A page, so that they share none with the superblock.
pub(super) const META_BLOCK: u32 = 4096 >> BLOCK_BITS;

/// Where inodes begin in an image with so many tars: behind all their slots.
pub(super) const fn meta_block(tars: usize) -> u32 {
    let slots_end = (SUPER_OFFSET + SUPER_BYTES + tars * DEVICE_SLOT_BYTES).div_ceil(BLOCK_BYTES) as u32;
    if slots_end < META_BLOCK { META_BLOCK } else { slots_end }
}

pub(super) const INCOMPAT_CHUNKED: u32 = 0x4;
pub(super) const INCOMPAT_DEVICES: u32 = 0x8;

/// Inodes lie at multiples of this, and are named by the quotient.
pub(super) const SLOT_BYTES: usize = 32;
pub(super) const INODE_BYTES: usize = 64;
pub(super) const INODE_EXTENDED: u16 = 1;

pub(super) const LAYOUT_PLAIN: u16 = 0;
pub(super) const LAYOUT_INLINE: u16 = 2;
pub(super) const LAYOUT_CHUNKS: u16 = 4;

/// Chunks are named by device and block rather than by block alone.
pub(super) const CHUNK_INDEXES: u32 = 0x20;
pub(super) const CHUNK_BITS_MAX: u32 = 0x1f;
pub(super) const CHUNK_INDEX_BYTES: usize = 8;
/// The block of a hole.
pub(super) const NO_BLOCK: u32 = u32::MAX;
/// The tar, among the devices.
pub(super) const TAR_DEVICE: u16 = 1;

pub(super) const DIRENT_BYTES: usize = 12;
pub(super) const XATTR_HEADER_BYTES: usize = 12;

pub(super) const S_IFMT: u16 = 0o170_000;
pub(super) const S_IFIFO: u16 = 0o010_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
pub(super) const S_IFDIR: u16 = 0o040_000;
pub(super) const S_IFBLK: u16 = 0o060_000;
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFLNK: u16 = 0o120_000;

/// The type in a directory entry.
pub(super) const fn dirent_type(mode: u16) -> u8 {
    match mode & S_IFMT {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFLNK => 7,
        _ => 0,
    }
}

/// Namespaces of attributes: their number, and what it stands for.
const XATTR_PREFIXES: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
const XATTR_NAMES: [(u8, &[u8]); 2] = [(2, b"system.posix_acl_access"), (3, b"system.posix_acl_default")];

/// What all attributes of an inode take at most (`i_xattr_icount`), but for the mark that makes a directory opaque.
pub(super) const XATTRS_BYTES_MAX: usize = u16::MAX as usize * 4 - 64;

/// What attributes take at most.
pub(super) fn xattrs_bytes(xattrs: &[Xattr]) -> usize {
    let bytes = |xattr: &Xattr| (4 + xattr.name.len() + xattr.value.len()).next_multiple_of(4);
    XATTR_HEADER_BYTES + xattrs.iter().map(bytes).sum::<usize>()
}

/// Splits an attribute's name into its namespace's number and the rest; `None` if Linux has no such namespace.
pub(super) fn split_xattr(name: &[u8]) -> Option<(u8, &[u8])> {
    let whole = XATTR_NAMES.iter().find(|(_, whole)| *whole == name).map(|(index, _)| (*index, &b""[..]));
    whole.or_else(|| {
        XATTR_PREFIXES.iter().find_map(|(index, prefix)| {
            name.strip_prefix(*prefix).filter(|rest| !rest.is_empty()).map(|rest| (*index, rest))
        })
    })
}

/// The reverse.
pub(super) fn join_xattr(index: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let prefix = XATTR_PREFIXES.iter().chain(&XATTR_NAMES).find(|(number, _)| *number == index)?.1;
    Some([prefix, rest].concat())
}

/// A device number as inodes have it (`new_encode_dev` of Linux).
pub(super) const fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The reverse.
pub(super) const fn decode_device(device: u32) -> (u32, u32) {
    ((device & 0xfff00) >> 8, (device & 0xff) | ((device >> 12) & 0xfff00))
}
