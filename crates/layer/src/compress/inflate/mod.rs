//! Inflate (RFC 1951) as a stream, in safe Rust.
//!
//! Pulling an image costs little but inflating and digesting, and this is a quarter faster than zlib-rs on layers
//! (`docs/decisions/0005-inflate.md`). It decodes straight into the reader's buffer, as wide as the buffer is: a large
//! one is fast. gzip's checksum is verified by whoever calls.

mod bits;
mod codes;

use bits::Bits;
use codes::{Codes, DIST_BITS, Entry, LITLEN_BITS};

/// How far back a match reaches.
const WINDOW_BYTES: usize = 32 << 10;
/// What one turn of the fast loop reads at most.
const INPUT_MARGIN: usize = 16;
/// What one turn of the fast loop writes at most: literals, the longest match, and what copying in steps writes beyond it.
const OUTPUT_MARGIN: usize = 3 + 258 + 16;

/// What is wrong with the data.
pub(super) type Problem = &'static str;

/// Why decoding paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// All input was taken.
    NeedsInput,
    /// The output is full.
    NeedsOutput,
    /// The last block has ended; [`Inflate::next_byte`] may still hold what follows.
    Ended,
}

#[derive(Clone, Copy)]
enum State {
    BlockHeader,
    StoredLength,
    Stored { left: usize },
    Lengths,
    Codes,
    Ended,
}

/// A decoder in the middle of a stream.
pub(super) struct Inflate {
    state: State,
    last_block: bool,
    bits: Bits,
    codes: Codes,
    /// A match that is not copied to its end.
    pending: Match,
    /// The output before the current buffer, as far as matches reach.
    history: Vec<u8>,
}

/// Copy `length` bytes from `distance` before.
#[derive(Clone, Copy, Default)]
struct Match {
    length: usize,
    distance: usize,
}

/// The input that is not taken, and the output with how much of it is filled.
pub(super) struct Buffers<'i, 'o> {
    pub(super) input: &'i [u8],
    pub(super) output: &'o mut [u8],
    pub(super) filled: usize,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self {
            state: State::BlockHeader,
            last_block: false,
            bits: Bits::default(),
            codes: Codes::new(),
            pending: Match::default(),
            history: Vec::with_capacity(2 * WINDOW_BYTES),
        }
    }

    /// Starts a new stream with the memory of this one.
    pub(super) fn reset(&mut self) {
        self.state = State::BlockHeader;
        self.last_block = false;
        self.history.clear();
    }

    /// A byte that was taken from the input and is not part of the stream, once that has ended.
    pub(super) fn next_byte(&mut self) -> Option<u8> {
        (self.bits.count() >= 8).then(|| self.bits.take(8) as u8)
    }

    /// Decodes until one of the buffers is used up. Every call has an output of its own.
    pub(super) fn decode(&mut self, buffers: &mut Buffers<'_, '_>) -> Result<Status, Problem> {
        let status = loop {
            let paused = match self.state {
                State::BlockHeader => self.block_header(buffers)?,
                State::StoredLength => self.stored_length(buffers)?,
                State::Stored { left } => self.stored(left, buffers),
                State::Lengths => {
                    let complete = self.codes.read(&mut self.bits, &mut buffers.input)?;
                    if complete {
                        self.state = State::Codes;
                    }
                    (!complete).then_some(Status::NeedsInput)
                }
                State::Codes => self.symbols(buffers)?,
                State::Ended => Some(Status::Ended),
            };
            if let Some(status) = paused {
                break status;
            }
        };
        Ok(status)
    }

    /// Remembers what was decoded into a buffer that goes away.
    pub(super) fn remember(&mut self, output: &[u8]) {
        let recent = &output[output.len().saturating_sub(WINDOW_BYTES)..];
        let kept = WINDOW_BYTES - recent.len();
        if self.history.len() > kept {
            self.history.drain(..self.history.len() - kept);
        }
        self.history.extend_from_slice(recent);
    }

    fn block_header(&mut self, buffers: &mut Buffers<'_, '_>) -> Result<Option<Status>, Problem> {
        if self.last_block {
            self.bits.align();
            self.state = State::Ended;
            return Ok(None);
        }
        self.bits.top_up(&mut buffers.input);
        if self.bits.count() < 3 {
            return Ok(Some(Status::NeedsInput));
        }
        self.last_block = self.bits.take(1) == 1;
        self.state = match self.bits.take(2) {
            0 => {
                self.bits.align();
                State::StoredLength
            }
            1 => {
                self.codes.fixed()?;
                State::Codes
            }
            2 => {
                self.codes.begin();
                State::Lengths
            }
            _ => return Err("a block is of an unknown type"),
        };
        Ok(None)
    }

    fn stored_length(&mut self, buffers: &mut Buffers<'_, '_>) -> Result<Option<Status>, Problem> {
        self.bits.top_up(&mut buffers.input);
        if self.bits.count() < 32 {
            return Ok(Some(Status::NeedsInput));
        }
        let (length, inverted) = (self.bits.take(16), self.bits.take(16));
        if length != !inverted & 0xffff {
            return Err("the length of a stored block is damaged");
        }
        self.state = State::Stored { left: length as usize };
        Ok(None)
    }

    fn stored(&mut self, left: usize, buffers: &mut Buffers<'_, '_>) -> Option<Status> {
        if left == 0 {
            self.state = State::BlockHeader;
            return None;
        }
        let output = &mut buffers.output[buffers.filled..];
        if output.is_empty() {
            return Some(Status::NeedsOutput);
        }
        let count = match self.next_byte() {
            Some(byte) => {
                output[0] = byte;
                1
            }
            None => {
                let count = left.min(output.len()).min(buffers.input.len());
                let (taken, rest) = buffers.input.split_at(count);
                output[..count].copy_from_slice(taken);
                buffers.input = rest;
                count
            }
        };
        buffers.filled += count;
        self.state = State::Stored { left: left - count };
        (count == 0).then_some(Status::NeedsInput)
    }

    fn symbols(&mut self, buffers: &mut Buffers<'_, '_>) -> Result<Option<Status>, Problem> {
        loop {
            if !self.copy_pending(buffers)? {
                return Ok(Some(Status::NeedsOutput));
            }
            let room = buffers.output.len() - buffers.filled;
            if buffers.input.len() >= INPUT_MARGIN && room >= OUTPUT_MARGIN {
                if self.fast(buffers)? {
                    self.state = State::BlockHeader;
                    return Ok(None);
                }
                if self.pending.length > 0 {
                    continue;
                }
            }
            match self.symbol(buffers)? {
                Symbol::Done => {}
                Symbol::EndOfBlock => {
                    self.state = State::BlockHeader;
                    return Ok(None);
                }
                Symbol::Paused(status) => return Ok(Some(status)),
            }
        }
    }

    /// Copies as much of a match as fits, byte by byte, also from before this buffer; true if it is complete.
    fn copy_pending(&mut self, buffers: &mut Buffers<'_, '_>) -> Result<bool, Problem> {
        let Match { mut length, distance } = self.pending;
        while length > 0 && buffers.filled < buffers.output.len() {
            let at = buffers.filled;
            buffers.output[at] = match at.checked_sub(distance) {
                Some(from) => buffers.output[from],
                None => {
                    let from = self.history.len().checked_sub(distance - at);
                    self.history[from.ok_or("a match reaches before the beginning")?]
                }
            };
            buffers.filled += 1;
            length -= 1;
        }
        self.pending.length = length;
        Ok(length == 0)
    }

    /// Decodes one literal or match with every check, near the ends of the buffers. Takes nothing from the bits unless
    /// all of the symbol is there.
    fn symbol(&mut self, buffers: &mut Buffers<'_, '_>) -> Result<Symbol, Problem> {
        self.bits.top_up(&mut buffers.input);
        let mut bits = self.bits;
        let Some((entry, length)) = self.codes.litlen.next(&mut bits)? else {
            return Ok(Symbol::Paused(Status::NeedsInput));
        };
        if entry.is_literal() {
            let Some(slot) = buffers.output.get_mut(buffers.filled) else {
                return Ok(Symbol::Paused(Status::NeedsOutput));
            };
            *slot = entry.literal();
            buffers.filled += 1;
        } else if !entry.is_end() {
            let Some((_, distance)) = self.codes.dist.next(&mut bits)? else {
                return Ok(Symbol::Paused(Status::NeedsInput));
            };
            self.pending = Match { length, distance };
        }
        self.bits = bits;
        Ok(if entry.is_end() { Symbol::EndOfBlock } else { Symbol::Done })
    }

    /// Decodes while both buffers have room for a whole turn: up to three literals, or a match. True at the end of the
    /// block; otherwise the margins are reached, or a match from before this buffer is pending.
    fn fast(&mut self, buffers: &mut Buffers<'_, '_>) -> Result<bool, Problem> {
        let (mut bits, mut input, mut at) = (self.bits, buffers.input, buffers.filled);
        let output = &mut *buffers.output;
        let end = output.len() - OUTPUT_MARGIN;
        let (litlen, dist) = (&self.codes.litlen, &self.codes.dist);
        let mut ended = false;
        // One turn takes at most 48 bits after the second refill; each refill wants eight bytes.
        while at <= end && input.len() >= INPUT_MARGIN && bits.refill(&mut input) {
            let mut entry = litlen.root(bits, LITLEN_BITS);
            if entry.is_literal() {
                let room = output[at..].first_chunk_mut::<3>().expect("the margin leaves room");
                bits.drop(entry.bits());
                room[0] = entry.literal();
                at += 1;
                entry = litlen.root(bits, LITLEN_BITS);
                if entry.is_literal() {
                    bits.drop(entry.bits());
                    room[1] = entry.literal();
                    at += 1;
                    entry = litlen.root(bits, LITLEN_BITS);
                    if entry.is_literal() {
                        bits.drop(entry.bits());
                        room[2] = entry.literal();
                        at += 1;
                        continue;
                    }
                }
                bits.refill(&mut input);
            }
            if entry.has_no_value() {
                if !entry.is_end() {
                    bits.drop(LITLEN_BITS);
                    entry = litlen.behind(entry, bits);
                }
                if entry.is_end() {
                    bits.drop(entry.bits());
                    ended = true;
                    break;
                }
                if entry.is_literal() {
                    bits.drop(entry.bits());
                    output[at] = entry.literal();
                    at += 1;
                    continue;
                }
            }
            let length = take_value(entry, &mut bits)?;
            let mut entry = dist.root(bits, DIST_BITS);
            if entry.has_no_value() {
                bits.drop(DIST_BITS);
                entry = dist.behind(entry, bits);
            }
            let found = Match { length, distance: take_value(entry, &mut bits)? };
            if found.distance <= at {
                copy(output, at, found);
            } else if let Some(before) = before(&self.history, found, at) {
                output[at..at + length].copy_from_slice(before);
            } else {
                self.pending = found;
                break;
            }
            at += length;
        }
        bits.settle();
        (self.bits, buffers.input, buffers.filled) = (bits, input, at);
        Ok(ended)
    }
}

/// The source of a match that lies wholly before the current output, of which `at` bytes are filled.
fn before(history: &[u8], found: Match, at: usize) -> Option<&[u8]> {
    let from = history.len().checked_sub(found.distance - at)?;
    history.get(from..from + found.length)
}

enum Symbol {
    Done,
    EndOfBlock,
    Paused(Status),
}

#[inline(always)]
fn take_value(entry: Entry, bits: &mut Bits) -> Result<usize, Problem> {
    if entry.is_none() {
        return Err("a code means nothing");
    }
    let value = entry.value(*bits);
    bits.drop(entry.bits());
    Ok(value)
}

/// Copies a match inside the output, in steps that may write beyond its end: what is there is not decoded yet.
#[inline(always)]
fn copy(output: &mut [u8], at: usize, found: Match) {
    let Match { length, distance } = found;
    let from = at - distance;
    if distance >= 16 {
        steps::<16>(output, from, at, length);
    } else if distance >= 8 {
        steps::<8>(output, from, at, length);
    } else if distance == 1 {
        let byte = output[from];
        output[at..at + length].fill(byte);
    } else {
        let window = &mut output[from..at + length];
        for index in distance..window.len() {
            window[index] = window[index - distance];
        }
    }
}

#[inline(always)]
fn steps<const N: usize>(output: &mut [u8], from: usize, at: usize, length: usize) {
    let mut done = 0;
    loop {
        let step = *output[from + done..].first_chunk::<N>().expect("it lies before what is written");
        *output[at + done..].first_chunk_mut::<N>().expect("the margin leaves room") = step;
        done += N;
        if done >= length {
            return;
        }
    }
}
