//! The streaming reader: bytes are pushed in pieces of any size, entries come out at a [`LayerSink`].

use super::described::{Described, Pending};
use super::header::{Block, Found, Header};
use super::pax::Records;
use super::{BLOCK_BYTES, Limits, field, header, padding_bytes, sparse};
use crate::path::shown;
use crate::{Entry, Error, Extent, Kind, LayerSink, Result, Vendor};

/// Reads one tar. It needs memory for one header with its extensions, whatever the tar holds.
pub struct Parser<'a> {
    limits: &'a Limits,
    state: State,
    /// Part of a block whose rest is in the next piece.
    partial: Vec<u8>,
    /// How many bytes of the tar are behind us.
    position: u64,
    pending: Pending,
    /// What global PAX headers said about every entry after them.
    globals: Records,
    /// What was said in Windows' words about the entry that comes next.
    vendor: Vec<Vendor>,
    entries: u64,
    names_bytes: u64,
    /// The last name seen, for messages.
    current: Vec<u8>,
}

enum State {
    /// At a header block.
    Header,
    /// One zero block has been seen.
    FirstZeros,
    /// In the content of an extension header of this kind.
    Extension { kind: u8, size: usize, text: Vec<u8>, left: u64 },
    /// At a block with more extents of an old GNU sparse file.
    OldGnu { entry: Box<Described>, numbers: Vec<u64>, real_size: u64 },
    /// At a block of a map of GNU sparse 1.0.
    Map { entry: Box<Described>, map: sparse::MapReader, bytes: u64 },
    /// In a file's content.
    Data(Data),
    /// In bytes that mean nothing to us.
    Skip { left: u64 },
    /// After the end of the archive.
    End,
}

/// How far a file's content is.
struct Data {
    left: u64,
    padding: u64,
    /// Extents that are not complete yet, the next one last.
    extents: Vec<Extent>,
    /// How much of that one is complete.
    within: u64,
}

impl<'a> Parser<'a> {
    /// Starts at the beginning of a tar.
    pub fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            state: State::Header,
            partial: Vec::with_capacity(BLOCK_BYTES),
            position: 0,
            pending: Pending::default(),
            globals: Records::default(),
            vendor: Vec::new(),
            entries: 0,
            names_bytes: 0,
            current: Vec::new(),
        }
    }

    /// How many entries there were so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Takes the next bytes of the tar.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut dyn LayerSink) -> Result<()> {
        let mut rest = chunk;
        // Bytes that are no content are handed on in as few pieces as the order of events allows.
        let mut framing = chunk;
        while !rest.is_empty() {
            match &mut self.state {
                State::Data(data) => {
                    flush(framing, rest, sink)?;
                    let taken = data.take(rest, sink)?;
                    let complete = (data.left == 0).then_some(data.padding);
                    self.advance(&mut rest, taken);
                    framing = rest;
                    if let Some(left) = complete {
                        self.state = if left == 0 { State::Header } else { State::Skip { left } };
                        sink.end()?;
                    }
                }
                State::Skip { left } => {
                    let taken = (*left).min(rest.len() as u64) as usize;
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    self.advance(&mut rest, taken);
                }
                State::Extension { text, left, .. } => {
                    let taken = (*left).min(rest.len() as u64) as usize;
                    text.extend_from_slice(&rest[..taken]);
                    *left -= taken as u64;
                    let complete = *left == 0;
                    self.advance(&mut rest, taken);
                    if complete {
                        self.extension()?;
                    }
                }
                State::End => {
                    let all = rest.len();
                    self.advance(&mut rest, all);
                }
                State::Header | State::FirstZeros | State::OldGnu { .. } | State::Map { .. } => {
                    if let Some(block) = self.block(&mut rest) {
                        flush(framing, rest, sink)?;
                        framing = rest;
                        self.on_block(&block, sink)?;
                    }
                }
            }
        }
        flush(framing, rest, sink)
    }

    /// Checks that the tar is complete.
    pub fn finish(&mut self) -> Result<()> {
        // Docker takes a tar without the two blocks of zeros. One without a file's last padding it takes too, but then
        // the file could not be mounted from the tar.
        let between = matches!(self.state, State::Header | State::FirstZeros | State::End);
        if between && self.pending.bytes == 0 && self.partial.is_empty() {
            return Ok(());
        }
        Err(Error::Truncated { entry: self.place() })
    }

    fn advance(&mut self, rest: &mut &[u8], taken: usize) {
        *rest = &rest[taken..];
        self.position += taken as u64;
    }

    /// The next whole block, if it is there.
    fn block(&mut self, rest: &mut &[u8]) -> Option<Block> {
        if self.partial.is_empty()
            && let Some(block) = rest.first_chunk::<BLOCK_BYTES>()
        {
            let block = *block;
            self.advance(rest, BLOCK_BYTES);
            return Some(block);
        }
        let taken = (BLOCK_BYTES - self.partial.len()).min(rest.len());
        self.partial.extend_from_slice(&rest[..taken]);
        self.advance(rest, taken);
        let block = Block::try_from(self.partial.as_slice()).ok()?;
        self.partial.clear();
        Some(block)
    }

    fn on_block(&mut self, block: &Block, sink: &mut dyn LayerSink) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Header) {
            State::OldGnu { entry, mut numbers, real_size } => {
                let more = sparse::old_gnu_block(block, &mut numbers, self.limits).map_err(|p| self.problem(p))?;
                if more {
                    self.state = State::OldGnu { entry, numbers, real_size };
                    return Ok(());
                }
                self.old_gnu(*entry, &numbers, real_size, sink)
            }
            State::Map { entry, mut map, bytes } => {
                let complete = map.block(block, self.limits).map_err(|problem| self.problem(problem))?;
                let bytes = bytes + BLOCK_BYTES as u64;
                if complete {
                    return self.sparse(*entry, &map.into_numbers(), bytes, sink);
                }
                self.state = State::Map { entry, map, bytes };
                Ok(())
            }
            state => self.on_header(block, matches!(state, State::FirstZeros), sink),
        }
    }

    fn on_header(&mut self, block: &Block, after_zeros: bool, sink: &mut dyn LayerSink) -> Result<()> {
        let header = match header::read(block) {
            Ok(Found::Header(_)) if after_zeros => return Err(self.problem("a header follows a block of zeros")),
            Ok(Found::Header(header)) => *header,
            Ok(Found::Zeros) => {
                self.state = if after_zeros { State::End } else { State::FirstZeros };
                return if self.pending.bytes > 0 { Err(Error::Truncated { entry: self.place() }) } else { Ok(()) };
            }
            Err(problem) => return Err(self.problem(problem)),
        };
        match header.kind {
            b'x' | b'X' | b'g' | b'L' | b'K' => return self.begin_extension(&header),
            // The name of a volume. Whatever stood before it was about that.
            b'V' => {
                self.pending = Pending::default();
                return self.skip(header.size);
            }
            _ => {}
        }
        let mut described = Described::new(header, std::mem::take(&mut self.pending), &self.globals);
        self.vendor = std::mem::take(&mut described.records.vendor);
        self.current.clone_from(&described.header.name);
        self.count(&described)?;
        match described.header.kind {
            b'0' | b'7' => self.file(described, sink),
            b'S' => self.begin_old_gnu(block, described, sink),
            b'D' => {
                let list_bytes = described.header.size;
                self.emit(described.other(self.limits)?, sink)?;
                self.skip(list_bytes)
            }
            _ => self.emit(described.other(self.limits)?, sink),
        }
    }

    fn count(&mut self, described: &Described) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.limit("the number of entries", self.limits.entries));
        }
        self.names_bytes += described.names_bytes();
        if self.names_bytes > self.limits.names_bytes {
            return Err(self.limit("the size of all names and attributes", self.limits.names_bytes));
        }
        Ok(())
    }

    fn begin_extension(&mut self, header: &Header) -> Result<()> {
        self.pending.bytes = self.pending.bytes.saturating_add(header.size).saturating_add(1);
        if self.pending.bytes > self.limits.extension_bytes {
            return Err(self.limit("the size of extension headers", self.limits.extension_bytes));
        }
        let left = header.size + padding_bytes(header.size) as u64;
        self.state = State::Extension { kind: header.kind, size: header.size as usize, text: Vec::new(), left };
        if left == 0 { self.extension() } else { Ok(()) }
    }

    fn extension(&mut self) -> Result<()> {
        let State::Extension { kind, size, mut text, .. } = std::mem::replace(&mut self.state, State::Header) else {
            return Ok(());
        };
        text.truncate(size);
        match kind {
            b'L' | b'K' => {
                text.truncate(field::text(&text).len());
                let target = if kind == b'L' { &mut self.pending.name } else { &mut self.pending.link };
                *target = Some(text);
                Ok(())
            }
            b'g' => {
                self.pending.bytes = 0;
                self.globals.parse_global(&text, self.limits).map_err(|problem| self.problem(problem))
            }
            _ => {
                // As GNU tar and Docker: of two in a row only the second counts. Readers that differ here see different layers.
                let mut records = self.globals.clone();
                records.parse(&text, self.limits).map_err(|problem| self.problem(problem))?;
                self.pending.records = Some(records);
                Ok(())
            }
        }
    }

    fn file(&mut self, entry: Described, sink: &mut dyn LayerSink) -> Result<()> {
        let holes = &entry.records.sparse;
        match holes.version {
            Some((1, 0)) => {
                self.state = State::Map { entry: Box::new(entry), map: sparse::MapReader::default(), bytes: 0 };
                Ok(())
            }
            None | Some((0, _)) if holes.real_size.is_some() => {
                let numbers = holes.numbers.clone();
                self.sparse(entry, &numbers, 0, sink)
            }
            None => self.emit(entry.file(self.limits)?, sink),
            Some(_) => Err(self.problem("a sparse file in an unknown format")),
        }
    }

    /// A sparse file described by PAX records, whose data begins after a map of `map_bytes`.
    fn sparse(&mut self, entry: Described, numbers: &[u64], map_bytes: u64, sink: &mut dyn LayerSink) -> Result<()> {
        let real_size = entry.records.sparse.real_size.ok_or_else(|| self.problem("a sparse file without a size"))?;
        let packed = entry.header.size.checked_sub(map_bytes);
        let packed = packed.ok_or_else(|| self.problem("the map of a sparse file is cut off"))?;
        self.emit(entry.sparse_file(numbers, real_size, packed, self.limits)?, sink)
    }

    fn begin_old_gnu(&mut self, block: &Block, entry: Described, sink: &mut dyn LayerSink) -> Result<()> {
        let real_size = field::number(&block[field::GNU_REAL_SIZE]).and_then(|size| u64::try_from(size).ok());
        let real_size = real_size.ok_or_else(|| self.problem("a sparse file without a size"))?;
        let mut numbers = Vec::new();
        if sparse::old_gnu_header(block, &mut numbers).map_err(|problem| self.problem(problem))? {
            self.state = State::OldGnu { entry: Box::new(entry), numbers, real_size };
            return Ok(());
        }
        self.old_gnu(entry, &numbers, real_size, sink)
    }

    fn old_gnu(&mut self, entry: Described, numbers: &[u64], real_size: u64, sink: &mut dyn LayerSink) -> Result<()> {
        let packed = entry.header.size;
        self.emit(entry.sparse_file(numbers, real_size, packed, self.limits)?, sink)
    }

    /// Hands an entry on; its content comes next.
    fn emit(&mut self, entry: Entry, sink: &mut dyn LayerSink) -> Result<()> {
        let left = entry.packed_bytes();
        if left > self.limits.tar_bytes {
            return Err(self.limit("the size of the uncompressed layer", self.limits.tar_bytes));
        }
        if !self.vendor.is_empty() {
            sink.vendor(&std::mem::take(&mut self.vendor))?;
        }
        sink.entry(&entry, self.position)?;
        let Kind::File { sparse, .. } = &entry.kind else { return Ok(()) };
        if left == 0 {
            return sink.end();
        }
        let mut extents = sparse.clone().unwrap_or_else(|| vec![Extent { offset: 0, length: left }]);
        extents.reverse();
        self.state = State::Data(Data { left, padding: padding_bytes(left) as u64, extents, within: 0 });
        Ok(())
    }

    fn skip(&mut self, size: u64) -> Result<()> {
        let left = size.checked_add(padding_bytes(size) as u64).ok_or_else(|| self.problem("the size is too large"))?;
        self.state = if left == 0 { State::Header } else { State::Skip { left } };
        Ok(())
    }

    fn limit(&self, what: &'static str, limit: u64) -> Error {
        Error::Limit { entry: self.place(), what, limit }
    }

    fn problem(&self, problem: &'static str) -> Error {
        Error::Header { entry: self.place(), problem }
    }

    /// Where we are, in words.
    fn place(&self) -> String {
        if self.current.is_empty() { format!("byte {}", self.position) } else { shown(&self.current) }
    }
}

impl Data {
    /// Hands on as much of `rest` as belongs to the current extent.
    fn take(&mut self, rest: &[u8], sink: &mut dyn LayerSink) -> Result<usize> {
        let Some(extent) = self.extents.last() else { return Ok(0) };
        let taken = (extent.length - self.within).min(rest.len() as u64);
        let offset = extent.offset + self.within;
        self.within += taken;
        if self.within == extent.length {
            self.extents.pop();
            self.within = 0;
        }
        self.left -= taken;
        sink.data(offset, &rest[..taken as usize])?;
        Ok(taken as usize)
    }
}

/// Hands on what was consumed of `framing` up to `rest`, which is its end.
fn flush(framing: &[u8], rest: &[u8], sink: &mut dyn LayerSink) -> Result<()> {
    let consumed = &framing[..framing.len() - rest.len()];
    if consumed.is_empty() { Ok(()) } else { sink.framing(consumed) }
}
