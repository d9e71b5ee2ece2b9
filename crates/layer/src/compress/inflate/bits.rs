//! Bits of the input, the next one lowest.

/// Up to 63 bits that were taken from the input.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bits {
    /// Bits beyond `count` are zero, or, within the fast loop, those that come next.
    held: u64,
    count: u32,
}

impl Bits {
    /// How many there are.
    pub(super) const fn count(self) -> u32 {
        self.count
    }

    /// The next bits; zeros where there are none.
    #[inline(always)]
    pub(super) const fn peek(self, count: u32) -> u64 {
        self.held & ((1 << count) - 1)
    }

    /// The bits after the next `skipped`.
    #[inline(always)]
    pub(super) const fn peek_after(self, skipped: u32, count: u32) -> u64 {
        (self.held >> skipped) & ((1 << count) - 1)
    }

    /// Takes bits off; there have to be as many.
    #[inline(always)]
    pub(super) const fn drop(&mut self, count: u32) {
        self.held >>= count & 63;
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes the next bits, at most 32; there have to be as many.
    pub(super) const fn take(&mut self, count: u32) -> u32 {
        let value = self.peek(count) as u32;
        self.drop(count);
        value
    }

    /// Takes off what is left of a byte.
    pub(super) const fn align(&mut self) {
        self.drop(self.count % 8);
    }

    /// Fills up to at least 56 bits if the input has them.
    pub(super) fn top_up(&mut self, input: &mut &[u8]) {
        while self.count < 56
            && let Some((byte, rest)) = input.split_first()
        {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            *input = rest;
        }
    }

    /// Fills up to at least 56 bits without a branch: what does not count yet is put there again next time. False if
    /// the input has less than eight bytes.
    #[inline(always)]
    pub(super) fn refill(&mut self, input: &mut &[u8]) -> bool {
        let Some(word) = input.first_chunk::<8>() else { return false };
        self.held |= u64::from_le_bytes(*word) << self.count;
        *input = &input[((63 - self.count) >> 3) as usize & 7..];
        self.count |= 56;
        true
    }

    /// Leaves the fast loop.
    pub(super) const fn settle(&mut self) {
        self.held &= (1 << self.count) - 1;
    }
}
