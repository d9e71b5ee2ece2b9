//! One 512-byte header block, checked.

use super::{BLOCK_BYTES, field};

/// A block.
pub(super) type Block = [u8; BLOCK_BYTES];

/// What a header block says before extensions.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: u16,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) device: (u32, u32),
}

/// What a block in the place of a header is.
pub(super) enum Found {
    Header(Box<Header>),
    /// Half of the end of the archive.
    Zeros,
}

type Problem = &'static str;

/// Reads a header block.
pub(super) fn read(block: &Block) -> Result<Found, Problem> {
    if block.iter().all(|&byte| byte == 0) {
        return Ok(Found::Zeros);
    }
    verify_checksum(block)?;
    let number = |range: std::ops::Range<usize>, problem| field::number(&block[range]).ok_or(problem);
    let mut kind = block[field::TYPE];
    let name = name(block);
    if kind == 0 {
        // V7 knew no directories.
        kind = if name.ends_with(b"/") { b'5' } else { b'0' };
    }
    let size = number(field::SIZE, "the size is not a number")?;
    let device = if matches!(kind, b'3' | b'4') {
        let half = |range| {
            let value = number(range, "the device is not a number")?;
            u32::try_from(value).map_err(|_| "the device number is out of range")
        };
        (half(field::MAJOR)?, half(field::MINOR)?)
    } else {
        (0, 0)
    };
    Ok(Found::Header(Box::new(Header {
        name,
        link: field::text(&block[field::LINK]).to_vec(),
        kind,
        mode: (number(field::MODE, "the mode is not a number")? & 0o7777) as u16,
        uid: number(field::UID, "the owner is not a number")?,
        gid: number(field::GID, "the group is not a number")?,
        size: u64::try_from(size).map_err(|_| "the size is negative")?,
        mtime: number(field::MTIME, "the time is not a number")?,
        device,
    })))
}

/// The name with its prefix, which GNU's and V7's headers do not have.
fn name(block: &Block) -> Vec<u8> {
    let name = field::text(&block[field::NAME]);
    let star = &block[field::STAR_TRAILER] == b"tar\0";
    let prefix = match &block[field::MAGIC] {
        magic if magic[..6] != field::MAGIC_USTAR[..6] => &b""[..],
        _ if star => field::text(&block[field::STAR_PREFIX]),
        _ => field::text(&block[field::PREFIX]),
    };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// The sum of all bytes with the checksum itself as blanks. Some old programs summed signed bytes.
fn verify_checksum(block: &Block) -> Result<(), Problem> {
    let stated = field::number(&block[field::CHECKSUM]).ok_or("the checksum is not a number")?;
    let (unsigned, signed) = checksums(block);
    if stated == unsigned || stated == signed { Ok(()) } else { Err("the checksum is wrong: this is not a tar header") }
}

/// The checksum as it should be, and as old programs computed it.
pub(super) fn checksums(block: &Block) -> (i64, i64) {
    let mut unsigned = 8 * i64::from(b' ');
    let mut signed = unsigned;
    let counted = block[..field::CHECKSUM.start].iter().chain(&block[field::CHECKSUM.end..]);
    for &byte in counted {
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    (unsigned, signed)
}
