//! What is where in the outer tar of an archive, for reading in any order.
//!
//! Only names, sizes and links matter here; a layer inside is read by the layer crate, with all its checks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

const BLOCK_BYTES: u64 = 512;

/// More files than any archive of images has: ten thousand images of a hundred layers.
const ENTRIES_MAX: usize = 1_000_000;

/// Longer than any path.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Its bytes are here.
    File { offset: u64, size_bytes: u64 },
    /// It is another name of this one.
    Link(String),
}

impl Entry {
    #[cfg(test)]
    pub(crate) const fn size_bytes(&self) -> Option<u64> {
        match self {
            Self::File { size_bytes, .. } => Some(*size_bytes),
            Self::Link(_) => None,
        }
    }
}

/// What an extended header says about the next entry.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    link: Option<String>,
    size_bytes: Option<u64>,
}

/// Reads all headers.
pub(crate) fn read(file: &File) -> io::Result<BTreeMap<String, Entry>> {
    let length = file.metadata()?.len();
    let mut entries = BTreeMap::new();
    let mut extended = Extended::default();
    let mut at = 0;
    while at + BLOCK_BYTES <= length {
        let mut block = [0; BLOCK_BYTES as usize];
        file.read_exact_at(&mut block, at)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        check_sum(&block)?;
        let said = number(&block[124..136]).ok_or_else(|| invalid("a size that is no number"))?;
        let kind = block[156];
        let size_bytes = match kind {
            b'1'..=b'6' => 0,
            b'0' | 0 | b'7' => extended.size_bytes.unwrap_or(said),
            _ => said,
        };
        let offset = at + BLOCK_BYTES;
        let end = offset.checked_add(size_bytes).filter(|end| *end <= length);
        let end = end.ok_or_else(|| invalid("an entry that is cut off"))?;
        if matches!(kind, b'L' | b'K' | b'x') {
            extend(&mut extended, kind, &content(file, offset, size_bytes)?);
        } else {
            let extended = std::mem::take(&mut extended);
            let name = extended.name.unwrap_or_else(|| name(&block));
            let entry = match kind {
                b'0' | 0 | b'7' => Some(Entry::File { offset, size_bytes }),
                b'1' => Some(Entry::Link(clean(&extended.link.unwrap_or_else(|| text(&block[157..257]))))),
                b'2' => Some(Entry::Link(beside(&name, &extended.link.unwrap_or_else(|| text(&block[157..257]))))),
                _ => None,
            };
            entries.extend(entry.map(|entry| (clean(&name), entry)));
        }
        if entries.len() > ENTRIES_MAX {
            return Err(invalid("too many entries"));
        }
        at = end.next_multiple_of(BLOCK_BYTES);
    }
    Ok(entries)
}

/// A number in octal or base 256.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        let (head, tail) = field.split_at(field.len() - 8);
        let plain = head.iter().enumerate().all(|(at, byte)| *byte == if at == 0 { 0x80 } else { 0 });
        return plain.then(|| u64::from_be_bytes(tail.try_into().expect("eight bytes")));
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// A path without `.`, `..` and superfluous slashes: names in an archive are looked up, never opened.
pub(crate) fn clean(path: &str) -> String {
    let mut clean: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => _ = clean.pop(),
            name => clean.push(name),
        }
    }
    clean.join("/")
}

/// Where a symbolic link leads.
fn beside(name: &str, target: &str) -> String {
    let dir = name.trim_end_matches('/').rsplit_once('/').map_or("", |(dir, _)| dir);
    if target.starts_with('/') { clean(target) } else { clean(&format!("{dir}/{target}")) }
}

fn extend(extended: &mut Extended, kind: u8, bytes: &[u8]) {
    match kind {
        b'L' => extended.name = Some(text(bytes)),
        b'K' => extended.link = Some(text(bytes)),
        _ => {
            for (key, value) in pax_records(bytes) {
                match key {
                    "path" => extended.name = Some(value.to_owned()),
                    "linkpath" => extended.link = Some(value.to_owned()),
                    "size" => extended.size_bytes = value.parse().ok(),
                    _ => {}
                }
            }
        }
    }
}

/// `LENGTH KEY=VALUE\n`, over and over (pax(1), "pax Extended Header").
fn pax_records(bytes: &[u8]) -> Vec<(&str, &str)> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&rest[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(length) = length.filter(|length| *length > space + 1 && *length <= rest.len()) else { break };
        if let Ok(record) = std::str::from_utf8(&rest[space + 1..length - 1]) {
            records.extend(record.split_once('='));
        }
        rest = &rest[length..];
    }
    records
}

fn content(file: &File, offset: u64, size_bytes: u64) -> io::Result<Vec<u8>> {
    if size_bytes > EXTENSION_BYTES_MAX {
        return Err(invalid("a name that is too long"));
    }
    let mut bytes = vec![0; usize::try_from(size_bytes).expect("at most a megabyte")];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn name(block: &[u8; BLOCK_BYTES as usize]) -> String {
    let name = text(&block[..100]);
    let prefix = text(&block[345..500]);
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
}

/// What stands before the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn check_sum(block: &[u8; BLOCK_BYTES as usize]) -> io::Result<()> {
    let blank = |(at, byte): (usize, &u8)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte });
    let sum: u64 = block.iter().enumerate().map(blank).sum();
    if number(&block[148..156]) == Some(sum) { Ok(()) } else { Err(invalid("it is not a tar")) }
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_names_inside() {
        assert_eq!(beside("a/layer.tar", "../b.tar"), "b.tar");
        assert_eq!(beside("a", "../../../etc/passwd"), "etc/passwd");
        assert_eq!(clean("./a//b/"), "a/b");
    }

    #[test]
    fn what_is_no_tar_is_refused() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[b'x'; 1024], 0).unwrap();
        assert_eq!(read(&file).unwrap_err().to_string(), "it is not a tar");
    }
}
