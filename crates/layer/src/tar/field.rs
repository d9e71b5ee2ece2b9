//! Fields of a header block: text that a NUL ends, numbers in octal or base 256.

use std::ops::Range;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
pub(super) const STAR_PREFIX: Range<usize> = 345..476;
pub(super) const STAR_TRAILER: Range<usize> = 508..512;
/// Old GNU sparse files: four extents, a flag, the size with holes.
pub(super) const GNU_SPARSE: Range<usize> = 386..482;
pub(super) const GNU_EXTENDED: usize = 482;
pub(super) const GNU_REAL_SIZE: Range<usize> = 483..495;

pub(super) const MAGIC_USTAR: &[u8] = b"ustar\x0000";

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&byte| byte == 0).unwrap_or(field.len())]
}

/// Reads a number; `None` if it is none or does not fit. An empty field is zero.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) { base256(field) } else { octal(field) }
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let begin = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[begin..];
    // A NUL in the middle ends the number, whatever follows.
    let digits = text(digits);
    let end = digits.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1);
    digits[..end].iter().try_fold(0i64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// Two's complement, big endian, with the highest bit as the mark.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let start = if negative { -1i128 } else { 0 };
    let mut value = (start << 8) | i128::from(first);
    for &byte in &field[1..] {
        value = (value << 8) | i128::from(byte);
        i64::try_from(value).ok()?;
    }
    i64::try_from(value).ok()
}

/// Reads decimal digits, as PAX and sparse maps have them.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Writes octal digits filling all but the last byte, which is NUL; false if the number has more.
pub(super) fn put_octal(field: &mut [u8], value: u64) -> bool {
    let (last, digits) = field.split_last_mut().expect("fields are not empty");
    *last = 0;
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    rest == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_all_their_forms() {
        let check = |field: &[u8], expected: Option<i64>| assert_eq!(number(field), expected, "{field:?}");
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"        ", Some(0));
        check(b"77777777", Some(0o77_777_777));
        check(b"12\x0099", Some(0o12));
        check(b"0000648\0", None);
        check(b"-000001\0", None);
        check(b"\x80\0\0\0\0\0\x01\0", Some(256));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1));
        check(b"\xff\xff\xff\xff\xff\xff\xff\x00", Some(-256));
        check(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None);
        check(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX));
    }

    #[test]
    fn octal_round_trips_or_says_it_does_not_fit() {
        let mut field = [0u8; 8];
        assert!(put_octal(&mut field, 0o1234567));
        assert_eq!(number(&field), Some(0o1234567));
        assert!(!put_octal(&mut field, 0o12345670));
    }
}
