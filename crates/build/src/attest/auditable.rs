//! Rust programs that say what they are made of: a section `.dep-v0` with a list of crates, as `cargo auditable` writes it
//! (<https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>).

use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

use flate2::read::ZlibDecoder;
use serde_json::Value;

use super::scan::{Kind, Package};

/// The section's name.
const SECTION: &[u8] = b".dep-v0\0";
/// The most it is read, compressed and not; the list of a program of a thousand crates has less than 200 KiB.
const LIST_BYTES_MAX: u64 = 8 << 20;
/// The most sections, and the longest table of their names.
const SECTIONS_MAX: u16 = 1024;
const NAMES_BYTES_MAX: u64 = 64 << 10;

/// Where something is in a file.
#[derive(Clone, Copy, Debug)]
struct Section {
    name: u32,
    offset: u64,
    size: u64,
}

/// The crates that a program says it is made of; none if it does not say.
pub(super) fn packages(content: BorrowedFd<'_>) -> Vec<Package> {
    let Ok(file) = content.try_clone_to_owned().map(File::from) else { return Vec::new() };
    let listed = list(&file).and_then(|list| serde_json::from_slice::<Value>(&list).ok());
    let Some(packages) = listed.as_ref().and_then(|list| list["packages"].as_array()) else { return Vec::new() };
    let package = |entry: &Value| {
        let field = |name: &str| entry[name].as_str();
        // What a build script was made of is not in the program.
        (field("kind") != Some("build")).then_some(())?;
        Some(Package::new(Kind::Cargo, field("name")?, field("version")?, ""))
    };
    packages.iter().filter_map(package).collect()
}

/// The list of a program, unpacked.
fn list(file: &File) -> Option<Vec<u8>> {
    let section = section(file)?;
    if section.size > LIST_BYTES_MAX {
        return None;
    }
    let mut packed = vec![0; usize::try_from(section.size).ok()?];
    file.read_exact_at(&mut packed, section.offset).ok()?;
    let mut list = Vec::new();
    ZlibDecoder::new(packed.as_slice()).take(LIST_BYTES_MAX).read_to_end(&mut list).ok()?;
    Some(list)
}

/// Finds the section (elf(5)); of either byte order and word length.
fn section(file: &File) -> Option<Section> {
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    if !header.starts_with(b"\x7fELF") {
        return None;
    }
    let elf = Elf { is_64: header[4] == 2, is_little: header[5] == 1 };
    let (table, counts) = if elf.is_64 { (elf.long(&header, 40)?, 58) } else { (elf.word(&header, 32)?.into(), 46) };
    let (size, count, names) =
        (elf.half(&header, counts)?, elf.half(&header, counts + 2)?, elf.half(&header, counts + 4)?);
    if count > SECTIONS_MAX || size < 40 || names >= count {
        return None;
    }
    let mut sections = vec![0; usize::from(size) * usize::from(count)];
    file.read_exact_at(&mut sections, table).ok()?;
    let at = |index: u16| elf.section(sections.get(usize::from(index) * usize::from(size)..)?);
    let named = at(names)?;
    if named.size > NAMES_BYTES_MAX {
        return None;
    }
    let mut strings = vec![0; usize::try_from(named.size).ok()?];
    file.read_exact_at(&mut strings, named.offset).ok()?;
    let is_it = |section: &Section| strings.get(section.name as usize..).is_some_and(|name| name.starts_with(SECTION));
    (0..count).filter_map(at).find(is_it)
}

/// How numbers are written.
struct Elf {
    is_64: bool,
    is_little: bool,
}

impl Elf {
    fn half(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn long(&self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(if self.is_little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }

    fn section(&self, bytes: &[u8]) -> Option<Section> {
        let name = self.word(bytes, 0)?;
        Some(match self.is_64 {
            true => Section { name, offset: self.long(bytes, 24)?, size: self.long(bytes, 32)? },
            false => Section { name, offset: self.word(bytes, 16)?.into(), size: self.word(bytes, 20)?.into() },
        })
    }
}
