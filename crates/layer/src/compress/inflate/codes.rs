//! Huffman codes as tables: the bits of the longest usual code are an index; longer codes have tables of their own
//! behind.

use super::Problem;
use super::bits::Bits;

pub(super) const LITLEN_BITS: u32 = 11;
pub(super) const DIST_BITS: u32 = 8;
const LENGTHS_BITS: u32 = 7;
/// The longest code.
const CODE_BITS_MAX: usize = 15;
/// At least as many entries as any code needs (2342 and 402, by zlib's `enough`), as powers of two, so that a mask
/// proves an index.
const LITLEN_ENTRIES: usize = 4096;
const DIST_ENTRIES: usize = 512;
/// Literals, lengths and distances together.
const SYMBOLS_MAX: usize = 320;
const END_OF_BLOCK: usize = 256;

/// Base and extra bits of lengths; 255 for those that must not occur.
#[rustfmt::skip]
const LENGTHS: [(u16, u8); 31] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2),
    (23, 2), (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5),
    (163, 5), (195, 5), (227, 5), (258, 0), (0, 255), (0, 255),
];
/// The same for distances.
#[rustfmt::skip]
const DISTS: [(u16, u8); 32] = [
    (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (7, 1), (9, 2), (13, 2), (17, 3), (25, 3), (33, 4), (49, 4), (65, 5),
    (97, 5), (129, 6), (193, 6), (257, 7), (385, 7), (513, 8), (769, 8), (1025, 9), (1537, 9), (2049, 10), (3073, 10),
    (4097, 11), (6145, 11), (8193, 12), (12289, 12), (16385, 13), (24577, 13), (0, 255), (0, 255),
];
/// In which order the lengths of the codes of lengths come.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What a code means:
///
/// ```text
/// bit 31 literal │ 16.. value, base or place of a table │ 15 no value │ 14 end of block │ 8..12 extra bits │ 0..7 all bits
/// ```
///
/// Zero is no code at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u32);

const LITERAL: u32 = 1 << 31;
const NO_VALUE: u32 = 1 << 15;
const END: u32 = 1 << 14;

impl Entry {
    const NONE: Self = Self(0);

    fn litlen(symbol: usize) -> Self {
        match symbol {
            0..END_OF_BLOCK => Self(LITERAL | (symbol as u32) << 16),
            END_OF_BLOCK => Self(NO_VALUE | END),
            _ => Self::with_extra(LENGTHS[symbol - END_OF_BLOCK - 1]),
        }
    }

    fn dist(symbol: usize) -> Self {
        Self::with_extra(DISTS[symbol])
    }

    fn with_extra((base, extra): (u16, u8)) -> Self {
        if extra == 255 { Self::NONE } else { Self(u32::from(base) << 16 | u32::from(extra) << 8 | u32::from(extra)) }
    }

    fn with_bits(self, bits: u32) -> Self {
        if self == Self::NONE { self } else { Self(self.0 + bits) }
    }

    #[inline(always)]
    pub(super) const fn is_literal(self) -> bool {
        self.0 & LITERAL != 0
    }

    #[inline(always)]
    pub(super) const fn literal(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Whether it is the end of the block or leads to another table.
    #[inline(always)]
    pub(super) const fn has_no_value(self) -> bool {
        self.0 & NO_VALUE != 0
    }

    #[inline(always)]
    pub(super) const fn is_end(self) -> bool {
        self.0 & END != 0
    }

    const fn leads_on(self) -> bool {
        self.0 & (NO_VALUE | END) == NO_VALUE
    }

    #[inline(always)]
    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Bits of the code and its extra bits.
    #[inline(always)]
    pub(super) const fn bits(self) -> u32 {
        self.0 & 0xff
    }

    /// A length or distance; `bits` begins with the code.
    #[inline(always)]
    pub(super) const fn value(self, bits: Bits) -> usize {
        let extra = self.0 >> 8 & 0x1f;
        (self.0 >> 16 & 0x7fff) as usize + bits.peek_after(self.bits() - extra, extra) as usize
    }
}

/// A table with tables behind it.
pub(super) struct Table<const N: usize> {
    entries: Box<[Entry; N]>,
    root_bits: u32,
}

impl<const N: usize> Table<N> {
    fn new(root_bits: u32) -> Self {
        Self { entries: Box::new([Entry::NONE; N]), root_bits }
    }

    /// The entry of the next bits; perhaps one that leads on.
    #[inline(always)]
    pub(super) fn root(&self, bits: Bits, root_bits: u32) -> Entry {
        self.entries[bits.peek(root_bits) as usize & (N - 1)]
    }

    /// The entry that `entry` leads on to; `bits` is behind those of the root.
    #[inline(always)]
    pub(super) fn behind(&self, entry: Entry, bits: Bits) -> Entry {
        let base = (entry.0 >> 16) as usize;
        self.entries[(base + bits.peek(entry.0 >> 8 & 0xf) as usize) & (N - 1)]
    }

    /// Takes the next code with its extra bits; `None` if not all bits are there.
    pub(super) fn next(&self, bits: &mut Bits) -> Result<Option<(Entry, usize)>, Problem> {
        let available = bits.count();
        let mut entry = self.root(*bits, self.root_bits);
        if entry.leads_on() {
            if available < self.root_bits {
                return Ok(None);
            }
            bits.drop(self.root_bits);
            entry = self.behind(entry, *bits);
        }
        if entry.is_none() && available >= CODE_BITS_MAX as u32 {
            return Err("a code means nothing");
        }
        if entry.is_none() || entry.bits() > bits.count() {
            return Ok(None);
        }
        let value = entry.value(*bits);
        bits.drop(entry.bits());
        Ok(Some((entry, value)))
    }

    /// Builds the table of the canonical code with these lengths.
    fn build(&mut self, lengths: &[u8], meaning: impl Fn(usize) -> Entry) -> Result<(), Problem> {
        let mut counts = [0u32; CODE_BITS_MAX + 1];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            counts[usize::from(length)] += 1;
        }
        let mut next = first_codes(&counts)?;
        let root = 1usize << self.root_bits;
        self.entries[..root].fill(Entry::NONE);
        let mut free = root;
        let mut behind = Behind { prefix: usize::MAX, at: 0, bits: 0 };
        for symbol in by_length(lengths, &counts) {
            let length = u32::from(lengths[symbol]);
            let code = next[length as usize];
            next[length as usize] += 1;
            let reversed = (code.reverse_bits() >> (32 - length)) as usize;
            if let Some(extra) = length.checked_sub(self.root_bits).filter(|&extra| extra > 0) {
                let prefix = reversed & (root - 1);
                if prefix != behind.prefix {
                    let bits = bits_behind(&counts, length, self.root_bits);
                    behind = Behind { prefix, at: free, bits };
                    free += 1 << bits;
                    if free > N {
                        return Err("a code is too large");
                    }
                    self.entries[prefix] = Entry(NO_VALUE | (behind.at as u32) << 16 | bits << 8 | self.root_bits);
                    self.entries[behind.at..free].fill(Entry::NONE);
                }
                let table = &mut self.entries[behind.at..behind.at + (1 << behind.bits)];
                fill(table, reversed >> self.root_bits, extra, meaning(symbol).with_bits(extra));
            } else {
                fill(&mut self.entries[..root], reversed, length, meaning(symbol).with_bits(length));
            }
            counts[length as usize] -= 1;
        }
        Ok(())
    }
}

/// The table behind one entry of the root.
struct Behind {
    prefix: usize,
    at: usize,
    bits: u32,
}

/// The first code of each length. Too many codes are refused, and too few but where there is only one.
fn first_codes(counts: &[u32; CODE_BITS_MAX + 1]) -> Result<[u32; CODE_BITS_MAX + 1], Problem> {
    let mut first = [0u32; CODE_BITS_MAX + 1];
    let (mut left, mut code, mut longest) = (1i64, 0u32, 0);
    for length in 1..=CODE_BITS_MAX {
        left = 2 * left - i64::from(counts[length]);
        if left < 0 {
            return Err("there are too many codes");
        }
        code = (code + counts[length - 1]) << 1;
        first[length] = code;
        longest = if counts[length] > 0 { length } else { longest };
    }
    if left > 0 && longest > 1 { Err("there are too few codes") } else { Ok(first) }
}

/// Symbols that have a code, the shortest codes first.
fn by_length(lengths: &[u8], counts: &[u32; CODE_BITS_MAX + 1]) -> impl Iterator<Item = usize> + use<> {
    let mut at = [0usize; CODE_BITS_MAX + 2];
    for length in 1..=CODE_BITS_MAX {
        at[length + 1] = at[length] + counts[length] as usize;
    }
    let total = at[CODE_BITS_MAX + 1];
    let mut sorted = [0u16; SYMBOLS_MAX];
    for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        sorted[at[usize::from(length)]] = symbol as u16;
        at[usize::from(length)] += 1;
    }
    sorted.into_iter().take(total).map(usize::from)
}

/// How many bits a table behind needs whose first code has this length; `counts` are the codes still to come.
fn bits_behind(counts: &[u32; CODE_BITS_MAX + 1], length: u32, root_bits: u32) -> u32 {
    let mut bits = length - root_bits;
    let mut room = (1i64 << bits) - i64::from(counts[length as usize]);
    while room > 0 && ((bits + root_bits) as usize) < CODE_BITS_MAX {
        bits += 1;
        room = 2 * room - i64::from(counts[(bits + root_bits) as usize]);
    }
    bits
}

/// Puts an entry wherever an index ends with the code.
fn fill(table: &mut [Entry], code: usize, length: u32, entry: Entry) {
    for slot in table.iter_mut().skip(code).step_by(1 << length) {
        *slot = entry;
    }
}

/// The codes of one block.
pub(super) struct Codes {
    pub(super) litlen: Table<LITLEN_ENTRIES>,
    pub(super) dist: Table<DIST_ENTRIES>,
    header: Header,
}

/// The beginning of a block with codes of its own, as far as it is read.
struct Header {
    stage: Stage,
    table: Table<DIST_ENTRIES>,
    lengths: [u8; SYMBOLS_MAX],
    read: usize,
    litlens: usize,
    dists: usize,
    length_codes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Counts,
    LengthCodes,
    Lengths,
}

impl Codes {
    pub(super) fn new() -> Self {
        let header = Header {
            stage: Stage::Counts,
            table: Table::new(LENGTHS_BITS),
            lengths: [0; SYMBOLS_MAX],
            read: 0,
            litlens: 0,
            dists: 0,
            length_codes: 0,
        };
        Self { litlen: Table::new(LITLEN_BITS), dist: Table::new(DIST_BITS), header }
    }

    /// The codes every decoder knows.
    pub(super) fn fixed(&mut self) -> Result<(), Problem> {
        let mut lengths = [8u8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        self.litlen.build(&lengths, Entry::litlen)?;
        self.dist.build(&[5; 32], Entry::dist)
    }

    /// Starts to read a block's own codes.
    pub(super) const fn begin(&mut self) {
        self.header.stage = Stage::Counts;
    }

    /// Reads a block's own codes; true when they are complete.
    pub(super) fn read(&mut self, bits: &mut Bits, input: &mut &[u8]) -> Result<bool, Problem> {
        let header = &mut self.header;
        if header.stage == Stage::Counts && !header.counts(bits, input)? {
            return Ok(false);
        }
        if header.stage == Stage::LengthCodes && !header.length_codes(bits, input)? {
            return Ok(false);
        }
        if !header.lengths(bits, input)? {
            return Ok(false);
        }
        let (litlens, rest) = header.lengths.split_at(header.litlens);
        if litlens[END_OF_BLOCK] == 0 {
            return Err("a block has no end");
        }
        self.litlen.build(litlens, Entry::litlen)?;
        self.dist.build(&rest[..header.dists], Entry::dist)?;
        Ok(true)
    }
}

impl Header {
    fn counts(&mut self, bits: &mut Bits, input: &mut &[u8]) -> Result<bool, Problem> {
        bits.top_up(input);
        if bits.count() < 14 {
            return Ok(false);
        }
        self.litlens = bits.take(5) as usize + 257;
        self.dists = bits.take(5) as usize + 1;
        self.length_codes = bits.take(4) as usize + 4;
        if self.litlens > 286 || self.dists > 30 {
            return Err("a block has too many codes");
        }
        (self.lengths, self.read, self.stage) = ([0; SYMBOLS_MAX], 0, Stage::LengthCodes);
        Ok(true)
    }

    fn length_codes(&mut self, bits: &mut Bits, input: &mut &[u8]) -> Result<bool, Problem> {
        while self.read < self.length_codes {
            bits.top_up(input);
            if bits.count() < 3 {
                return Ok(false);
            }
            self.lengths[ORDER[self.read]] = bits.take(3) as u8;
            self.read += 1;
        }
        self.table.build(&self.lengths[..ORDER.len()], |symbol| Entry(LITERAL | (symbol as u32) << 16))?;
        (self.lengths, self.read, self.stage) = ([0; SYMBOLS_MAX], 0, Stage::Lengths);
        Ok(true)
    }

    fn lengths(&mut self, bits: &mut Bits, input: &mut &[u8]) -> Result<bool, Problem> {
        let total = self.litlens + self.dists;
        while self.read < total {
            bits.top_up(input);
            let mut ahead = *bits;
            let Some((entry, _)) = self.table.next(&mut ahead)? else { return Ok(false) };
            let (extra, least) = match entry.literal() {
                16 => (2, 3),
                17 => (3, 3),
                18 => (7, 11),
                _ => (0, 1),
            };
            if ahead.count() < extra {
                return Ok(false);
            }
            let times = least + ahead.take(extra) as usize;
            let length = match (entry.literal(), self.read.checked_sub(1)) {
                (16, None) => return Err("the first length repeats one before"),
                (16, Some(before)) => self.lengths[before],
                (17 | 18, _) => 0,
                (length, _) => length,
            };
            if self.read + times > total {
                return Err("a length repeats too often");
            }
            self.lengths[self.read..self.read + times].fill(length);
            self.read += times;
            *bits = ahead;
        }
        Ok(true)
    }
}
