//! gzip members that fit into memory, inflated in one go.
//!
//! libdeflate wants all input and room for all output, and is a third faster for it than a decoder of streams. Layers that
//! consist of many members are those that we push ([`Encoder`](super::Encoder)) and those in the eStargz format.

use std::io::{self, BufRead as _, Read};
use std::ops::Range;

use strata_sys::gzip_member::{Decompressor, Inflated};

use super::window::Window;

/// The most that a member may inflate to.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// And what it may come from: data that cannot be compressed grows by some bytes.
const INPUT_BYTES_MAX: usize = OUTPUT_BYTES_MAX;
/// How many members of a stream may turn out to be too large: each costs as much as inflating what fits.
const FAILURES_MAX: u32 = 4;

/// Inflates members in one go.
pub(super) struct Members {
    decompressor: Option<Decompressor>,
    /// Room for one that does not fit where it is wanted, and what of it was not taken yet.
    kept: Vec<u8>,
    rest: Range<usize>,
    /// The longest so far, compressed.
    longest: usize,
    failures: u32,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { decompressor: Decompressor::new(), kept: Vec::new(), rest: 0..0, longest: 0, failures: 0 }
    }

    /// Takes of what is left of the last member.
    pub(super) fn take_rest(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.kept[self.rest.start..][..count]);
        self.rest.start += count;
        count
    }

    /// Inflates the member with which `input` begins, if it fits, and says how much of it is in the buffer; the
    /// [rest](Self::take_rest) comes next. None, and nothing is consumed, if a decoder of streams has to look at it: because
    /// it is too large, or because something is wrong with it.
    pub(super) fn inflate<R: Read>(&mut self, input: &mut Window<R>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let may = self.failures < FAILURES_MAX;
        let Some(decompressor) = self.decompressor.as_mut().filter(|_| may) else { return Ok(None) };
        let fits = buffer.len() >= OUTPUT_BYTES_MAX;
        if !fits {
            self.kept.resize(OUTPUT_BYTES_MAX, 0);
        }
        let output = if fits { &mut *buffer } else { self.kept.as_mut_slice() };
        // Usually as much as is needed, so that little has to be tried twice.
        let mut wanted = if self.longest == 0 { INPUT_BYTES_MAX } else { INPUT_BYTES_MAX.min(2 * self.longest) };
        let inflated = loop {
            let here = input.at_least(wanted)?;
            let (inflated, enough) = (decompressor.inflate(here, output), here.len() >= INPUT_BYTES_MAX);
            if inflated.is_some() || enough || input.is_over() {
                break inflated;
            }
            wanted = INPUT_BYTES_MAX;
        };
        let Some(Inflated { consumed, made }) = inflated else {
            self.failures += 1;
            return Ok(None);
        };
        input.consume(consumed);
        self.longest = self.longest.max(consumed);
        if fits {
            return Ok(Some(made));
        }
        self.rest = 0..made;
        Ok(Some(self.take_rest(buffer)))
    }
}
