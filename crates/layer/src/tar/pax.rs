//! PAX records (POSIX.1-2017, `pax`, "pax Extended Header"): `LENGTH KEY=VALUE\n`.

use super::{Limits, field};
use crate::{Time, Vendor, Xattr};

/// What PAX records say about one entry. `None` means that the header block's field holds.
#[derive(Debug, Default, Clone)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    /// What is Windows' own business.
    pub(super) vendor: Vec<Vendor>,
    pub(super) sparse: Sparse,
}

/// What PAX records say about holes.
#[derive(Debug, Default, Clone)]
pub(super) struct Sparse {
    pub(super) version: Option<(u64, u64)>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths in turn.
    pub(super) numbers: Vec<u64>,
}

type Problem = &'static str;

impl Records {
    /// Adds the records in `text`; later ones win.
    pub(super) fn parse(&mut self, text: &[u8], limits: &Limits) -> Result<(), Problem> {
        let mut rest = text;
        while !rest.is_empty() {
            let record = record(rest)?;
            self.set(record.key, record.value, limits)?;
            rest = record.rest;
        }
        Ok(())
    }

    /// Adds global records: those that would rename or resize every entry after them, or are
    /// about Windows, are passed over.
    pub(super) fn parse_global(&mut self, text: &[u8], limits: &Limits) -> Result<(), Problem> {
        self.parse(text, limits)?;
        (self.path, self.link, self.size) = (None, None, None);
        self.vendor.clear();
        self.sparse = Sparse::default();
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Problem> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.set_xattr(name.to_vec(), value.to_vec(), limits);
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let value = base64(value).ok_or("an attribute is not base64")?;
            return self.set_xattr(unescape(name), value, limits);
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.set(key, value, limits);
        }
        if key.starts_with(Vendor::WINDOWS) || key == Vendor::CREATED {
            self.vendor.retain(|known| known.key != key);
            self.vendor.push(Vendor { key: key.to_vec(), value: value.to_vec() });
            return Ok(());
        }
        let number = || field::decimal(value).ok_or("a number in the PAX header is malformed");
        let id = || i64::try_from(number()?).map_err(|_| "a number in the PAX header is too large");
        match key {
            b"path" | b"linkpath" if value.contains(&0) => return Err("a name in the PAX header contains a NUL byte"),
            // An empty value takes the record back.
            b"path" => self.path = (!value.is_empty()).then(|| value.to_vec()),
            b"linkpath" => self.link = (!value.is_empty()).then(|| value.to_vec()),
            b"size" => self.size = if value.is_empty() { None } else { Some(number()?) },
            b"uid" => self.uid = if value.is_empty() { None } else { Some(id()?) },
            b"gid" => self.gid = if value.is_empty() { None } else { Some(id()?) },
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(time(value)?) },
            _ => {}
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: Vec<u8>, value: Vec<u8>, limits: &Limits) -> Result<(), Problem> {
        if name.is_empty() || name.len() > crate::NAME_BYTES_MAX || name.contains(&0) {
            return Err("an attribute's name is empty, too long or contains a NUL byte");
        }
        if value.len() as u64 > limits.xattr_bytes {
            return Err("an attribute's value is too long");
        }
        match self.xattrs.binary_search_by(|xattr| xattr.name.cmp(&name)) {
            Ok(at) => self.xattrs[at].value = value,
            Err(_) if self.xattrs.len() as u64 >= limits.xattrs => return Err("there are too many attributes"),
            Err(at) => self.xattrs.insert(at, Xattr { name, value }),
        }
        Ok(())
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Problem> {
        let number = || field::decimal(value).ok_or("a number of a sparse file is malformed");
        match key {
            b"major" => self.version = Some((number()?, self.version.map_or(0, |version| version.1))),
            b"minor" => self.version = Some((self.version.map_or(0, |version| version.0), number()?)),
            b"name" if value.contains(&0) => return Err("a name in the PAX header contains a NUL byte"),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = Some(number()?),
            b"offset" | b"numbytes" => {
                let expected = if self.numbers.len().is_multiple_of(2) { &b"offset"[..] } else { b"numbytes" };
                if key != expected {
                    return Err("the extents of a sparse file are out of order");
                }
                self.push(number()?, limits)?;
            }
            b"map" => {
                self.numbers.clear();
                for number in value.split(|&byte| byte == b',') {
                    let number = field::decimal(number).ok_or("the map of a sparse file is malformed")?;
                    self.push(number, limits)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, number: u64, limits: &Limits) -> Result<(), Problem> {
        if self.numbers.len() as u64 >= limits.extents.saturating_mul(2) {
            return Err("a sparse file has too many extents");
        }
        self.numbers.push(number);
        Ok(())
    }
}

/// One record, and what follows it.
struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
    rest: &'a [u8],
}

/// Splits the first record off.
fn record(text: &[u8]) -> Result<Record<'_>, Problem> {
    const MALFORMED: Problem = "a record of the PAX header is malformed";
    let blank = text.iter().take(20).position(|&byte| byte == b' ').ok_or(MALFORMED)?;
    let length = field::decimal(&text[..blank]).ok_or(MALFORMED)?;
    let length = usize::try_from(length).ok().filter(|&length| length <= text.len()).ok_or(MALFORMED)?;
    let body = text[..length].get(blank + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or(MALFORMED)?;
    let equals = body.iter().position(|&byte| byte == b'=').filter(|&at| at > 0).ok_or(MALFORMED)?;
    Ok(Record { key: &body[..equals], value: &body[equals + 1..], rest: &text[length..] })
}

/// Reads seconds with a fraction, perhaps negative; digits after the ninth are cut off.
pub(crate) fn time(value: &[u8]) -> Result<Time, Problem> {
    const MALFORMED: Problem = "a time in the PAX header is malformed";
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let dot = digits.iter().position(|&byte| byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..dot], digits.get(dot + 1..).unwrap_or_default());
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    let seconds = field::decimal(whole).and_then(|seconds| i64::try_from(seconds).ok()).ok_or(MALFORMED)?;
    let nanoseconds =
        (0..9).fold(0, |value, at| value * 10 + u32::from(fraction.get(at).map_or(0, |byte| byte - b'0')));
    Ok(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// Reads `%41` as `A`, as LIBARCHIVE writes attribute names.
fn unescape(name: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut plain = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(&byte) = name.get(at) {
        match (byte, hex(name.get(at + 1)), hex(name.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}

/// Reads base64, with or without padding.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let mut plain = Vec::with_capacity(end * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for &byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            plain.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Records, Problem> {
        let mut records = Records::default();
        records.parse(text, &Limits::GENEROUS).map(|()| records)
    }

    #[test]
    fn records_are_read() {
        let records = parse(b"12 path=a/b\n30 mtime=1321711775.972059463\n25 SCHILY.xattr.user.a=x\n").unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(records.mtime, Some(Time { seconds: 1_321_711_775, nanoseconds: 972_059_463 }));
        assert_eq!(records.xattrs, [Xattr { name: b"user.a".to_vec(), value: b"x".to_vec() }]);
    }

    #[test]
    fn a_value_may_contain_newlines_equals_signs_and_nothing() {
        let records = parse(b"30 SCHILY.xattr.user.a=\n1=2\n\0\n25 SCHILY.xattr.user.bb=\n").unwrap();
        assert_eq!(records.xattrs[0].value, b"\n1=2\n\0");
        assert_eq!(records.xattrs[1].value, b"");
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [&b"x"[..], b"12 path=a/b", b"99 path=a/b\n", b"12 path=a/bc\n", b"0 a=b\n", b"7 a=b\n", b"5 =b\n"] {
            assert!(parse(bad).is_err(), "{:?}", bad.escape_ascii().to_string());
        }
        assert!(parse(b"11 path=a\0\n").is_err());
        assert!(parse(b"11 size=-1\n").is_err());
        assert!(parse(b"29 size=99999999999999999999\n").is_err());
    }

    #[test]
    fn times_before_1970_count_forward() {
        let check = |text: &[u8], seconds, nanoseconds| assert_eq!(time(text), Ok(Time { seconds, nanoseconds }));
        check(b"-1.5", -2, 500_000_000);
        check(b"-1", -1, 0);
        check(b"-0.000000001", -1, 999_999_999);
        check(b"0.1234567899", 0, 123_456_789);
        assert!(time(b"1.x").is_err() && time(b".5").is_err() && time(b"--1").is_err());
    }

    #[test]
    fn attributes_of_libarchive_are_decoded() {
        let records = parse(b"38 LIBARCHIVE.xattr.user.%61=aGVsbG8=\n").unwrap();
        assert_eq!(records.xattrs, [Xattr { name: b"user.a".to_vec(), value: b"hello".to_vec() }]);
    }

    #[test]
    fn the_last_of_two_values_counts() {
        let records = parse(b"25 SCHILY.xattr.user.a=x\n25 SCHILY.xattr.user.a=y\n").unwrap();
        assert_eq!(records.xattrs, [Xattr { name: b"user.a".to_vec(), value: b"y".to_vec() }]);
    }
}
