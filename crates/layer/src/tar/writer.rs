//! Headers as Docker's `tar-split` and Go's `archive/tar` write them: ustar where it fits, PAX records where not.

use super::header::{Block, checksums};
use super::{BLOCK_BYTES, field, padding_bytes};
use crate::{Entry, Kind, Time};

/// How exact times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Cut to whole seconds, as Docker does: nanoseconds would cost two more blocks for nearly every file.
    Seconds,
    /// As they are.
    Nanoseconds,
}

/// The two blocks of zeros at the end.
pub fn end_of_archive() -> &'static [u8] {
    &[0; 2 * BLOCK_BYTES]
}

/// Appends the header of `entry`, with its PAX header if it needs one. Content and padding follow; the content of a file
/// with holes is written in full. The same entry always gives the same bytes.
pub fn encode(entry: &Entry, times: Times, out: &mut Vec<u8>) {
    Plan::new(entry, times).write(out);
}

/// [`encode`]s an entry that comes at `position` in a tar so that its content begins at a multiple of `align` bytes (itself
/// one of a tar's block): a comment in the PAX header, which nobody reads, is as long as that takes.
pub fn encode_aligned(entry: &Entry, times: Times, position: u64, align: u64, out: &mut Vec<u8>) {
    let mut header = Plan::new(entry, times);
    let used = header.records.len();
    let blocks = if used == 0 { 1 } else { 2 };
    let records = (used + padding_bytes(used as u64)) as u64;
    let content = position + blocks * BLOCK_BYTES as u64 + records;
    let mut gap = (content.next_multiple_of(align) - content) as usize;
    if gap > 0 {
        // A first record needs a header of its own.
        let own = if used == 0 { BLOCK_BYTES } else { 0 };
        while gap < own || records as usize + gap - own < used + COMMENT_BYTES_MIN {
            gap += align as usize;
        }
        header.comment(records as usize + gap - own - used);
    }
    header.write(out);
}

/// `12 comment=` and a line feed.
const COMMENT_BYTES_MIN: usize = 12;

/// The name of every PAX header. Go derives it from the entry's; nobody reads it.
const PAX_NAME: &[u8] = b"PaxHeaders.0/entry";

struct Plan {
    block: Block,
    records: Vec<u8>,
}

struct Common {
    mode: u16,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: i64,
    kind: u8,
}

impl Plan {
    fn new(entry: &Entry, times: Times) -> Self {
        let mut plan = Self { block: [0; BLOCK_BYTES], records: Vec::new() };
        let (kind, size) = match &entry.kind {
            Kind::File { size_bytes, .. } => (b'0', *size_bytes),
            Kind::Hardlink { .. } => (b'1', 0),
            Kind::Symlink { .. } => (b'2', 0),
            Kind::Char(_) => (b'3', 0),
            Kind::Block(_) => (b'4', 0),
            Kind::Dir => (b'5', 0),
            Kind::Fifo => (b'6', 0),
        };
        plan.name(entry);
        plan.link(entry);
        if let Kind::Char(device) | Kind::Block(device) = entry.kind {
            // The kernel's numbers have 12 and 20 bits: they fit.
            field::put_octal(&mut plan.block[field::MAJOR], device.major.into());
            field::put_octal(&mut plan.block[field::MINOR], device.minor.into());
        }
        let mtime = plan.mtime(entry.mtime, times);
        plan.number(b"size", size, 11);
        plan.number(b"uid", entry.uid.into(), 7);
        plan.number(b"gid", entry.gid.into(), 7);
        for xattr in &entry.xattrs {
            plan.record(&[b"SCHILY.xattr.", xattr.name.as_slice()].concat(), &xattr.value);
        }
        let Entry { mode, uid, gid, .. } = *entry;
        common(&mut plan.block, Common { mode, uid, gid, size, mtime, kind });
        plan
    }

    fn write(&self, out: &mut Vec<u8>) {
        if !self.records.is_empty() {
            let size = self.records.len();
            let mut block = [0u8; BLOCK_BYTES];
            block[field::NAME][..PAX_NAME.len()].copy_from_slice(PAX_NAME);
            common(&mut block, Common { mode: 0o644, uid: 0, gid: 0, size: size as u64, mtime: 0, kind: b'x' });
            out.extend_from_slice(&block);
            out.extend_from_slice(&self.records);
            out.resize(out.len() + padding_bytes(size as u64), 0);
        }
        out.extend_from_slice(&self.block);
    }

    /// Appends a record of `length` bytes that says nothing.
    fn comment(&mut self, length: usize) {
        let digits = length.to_string();
        let fill = length - digits.len() - " comment=\n".len();
        self.records.extend_from_slice(digits.as_bytes());
        self.records.extend_from_slice(b" comment=");
        self.records.resize(self.records.len() + fill, b' ');
        self.records.push(b'\n');
    }

    fn name(&mut self, entry: &Entry) {
        let mut name = entry.path.as_bytes().to_vec();
        match &entry.kind {
            Kind::Dir if name.is_empty() => name.extend_from_slice(b"./"),
            Kind::Dir => name.push(b'/'),
            _ => {}
        }
        if name.len() <= field::NAME.len() && name.is_ascii() {
            self.block[field::NAME][..name.len()].copy_from_slice(&name);
        } else if let Some((prefix, rest)) = split_name(&name) {
            self.block[field::NAME][..rest.len()].copy_from_slice(rest);
            self.block[field::PREFIX][..prefix.len()].copy_from_slice(prefix);
        } else {
            put_ascii(&mut self.block[field::NAME], &name);
            self.record(b"path", &name);
        }
    }

    fn link(&mut self, entry: &Entry) {
        let link = match &entry.kind {
            Kind::Symlink { target } => target.as_slice(),
            Kind::Hardlink { target } => target.as_bytes(),
            _ => return,
        };
        put_ascii(&mut self.block[field::LINK], link);
        if link.len() > field::LINK.len() || !link.is_ascii() {
            self.record(b"linkpath", link);
        }
    }

    /// Writes a PAX record for a number that has more than `digits` octal digits.
    fn number(&mut self, key: &[u8], value: u64, digits: u32) {
        if value >> (3 * digits) != 0 {
            self.record(key, value.to_string().as_bytes());
        }
    }

    /// Gives the time for the header's own field.
    fn mtime(&mut self, time: Time, times: Times) -> i64 {
        let exact = times == Times::Nanoseconds && time.nanoseconds != 0;
        let fits = (0..1i64 << 33).contains(&time.seconds);
        if exact || !fits {
            let nanoseconds = if times == Times::Nanoseconds { time.nanoseconds } else { 0 };
            self.record(b"mtime", decimal_time(Time { nanoseconds, ..time }).as_bytes());
        }
        if fits { time.seconds } else { 0 }
    }

    /// Appends a record; its length counts itself.
    fn record(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        loop {
            let next = rest + length.to_string().len();
            if next == length {
                break;
            }
            length = next;
        }
        self.records.extend_from_slice(format!("{length} ").as_bytes());
        self.records.extend_from_slice(key);
        self.records.push(b'=');
        self.records.extend_from_slice(value);
        self.records.push(b'\n');
    }
}

/// Writes the fields all headers have. Numbers that do not fit are in PAX records, and zero here.
fn common(block: &mut Block, fields: Common) {
    let mut put = |range: std::ops::Range<usize>, value: u64| {
        if !field::put_octal(&mut block[range.clone()], value) {
            field::put_octal(&mut block[range], 0);
        }
    };
    put(field::MODE, fields.mode.into());
    put(field::UID, fields.uid.into());
    put(field::GID, fields.gid.into());
    put(field::SIZE, fields.size);
    put(field::MTIME, fields.mtime as u64);
    block[field::TYPE] = fields.kind;
    block[field::MAGIC].copy_from_slice(field::MAGIC_USTAR);
    if !matches!(fields.kind, b'3' | b'4') {
        field::put_octal(&mut block[field::MAJOR], 0);
        field::put_octal(&mut block[field::MINOR], 0);
    }
    let (sum, _) = checksums(block);
    field::put_octal(&mut block[field::CHECKSUM][..7], sum as u64);
    block[field::CHECKSUM.end - 1] = b' ';
}

/// Splits a name at a slash so that both parts fit a ustar header.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if !name.is_ascii() || name.len() > field::NAME.len() + 1 + field::PREFIX.len() {
        return None;
    }
    let last = name.len().min(field::PREFIX.len() + 1).saturating_sub(1);
    let slash = name[..last].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (!prefix.is_empty() && !rest.is_empty() && rest.len() <= field::NAME.len()).then_some((prefix, rest))
}

/// Writes what fits of `text`, without bytes that old programs stumble over.
fn put_ascii(target: &mut [u8], text: &[u8]) {
    let ascii = text.iter().filter(|byte| byte.is_ascii());
    for (slot, byte) in target.iter_mut().zip(ascii) {
        *slot = *byte;
    }
}

fn decimal_time(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match time {
        Time { seconds, nanoseconds: 0 } => return seconds.to_string(),
        Time { seconds, nanoseconds } if seconds < 0 => {
            ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
        }
        Time { seconds, nanoseconds } => ("", seconds.unsigned_abs(), nanoseconds),
    };
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}
