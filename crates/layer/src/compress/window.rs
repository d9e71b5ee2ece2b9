//! Input that can be looked at in pieces as large as somebody needs.

use std::io::{self, BufRead, ErrorKind, Read};

/// Room for what [`Window::at_least`] is asked for, and to read on behind it before that has to be moved.
const CAPACITY_BYTES: usize = 2 << 20;
/// How much is read at once where nobody asks for more: it stays in the processor's cache.
const READ_BYTES: usize = 256 << 10;

/// A reader with a buffer of which everything can be seen.
pub(super) struct Window<R> {
    source: R,
    memory: Vec<u8>,
    /// What is not consumed.
    start: usize,
    end: usize,
    is_over: bool,
}

impl<R: Read> Window<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, memory: vec![0; CAPACITY_BYTES], start: 0, end: 0, is_over: false }
    }

    pub(super) const fn source(&self) -> &R {
        &self.source
    }

    /// What comes next: as many bytes as are `wanted`, at most half of the capacity, unless the source ends before.
    pub(super) fn at_least(&mut self, wanted: usize) -> io::Result<&[u8]> {
        debug_assert!(wanted <= CAPACITY_BYTES / 2);
        if self.start + wanted > CAPACITY_BYTES {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < wanted && !self.is_over {
            match self.read_on(CAPACITY_BYTES) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => done?,
            }
        }
        Ok(&self.memory[self.start..self.end])
    }

    /// Whether the source has no more than what is here.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    fn read_on(&mut self, count_max: usize) -> io::Result<()> {
        let until = CAPACITY_BYTES.min(self.end.saturating_add(count_max));
        let count = self.source.read(&mut self.memory[self.end..until])?;
        self.end += count;
        self.is_over = count == 0;
        Ok(())
    }
}

impl<R: Read> Read for Window<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Window<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end && !self.is_over {
            (self.start, self.end) = (0, 0);
            self.read_on(READ_BYTES)?;
        }
        Ok(&self.memory[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
}
