//! The exact tar of a layer that borrows.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::Borrowed;

/// Reads a layer's tar from its own and from its lenders'.
#[derive(Debug)]
pub struct Whole {
    /// Its own first.
    tars: Vec<File>,
    borrowed: Borrowed,
    /// What its own tar does not have and was not reached yet, the last first.
    holes: Vec<Range<u64>>,
    position: u64,
}

impl Whole {
    /// Starts at the beginning; `tars` are the layer's own and its lenders'.
    pub fn new(tars: Vec<File>, borrowed: Borrowed) -> Self {
        let mut holes: Vec<Range<u64>> = borrowed.holes().collect();
        holes.reverse();
        Self { tars, borrowed, holes, position: 0 }
    }
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "the layer lacks one of its lenders");
        let hole = self.holes.last().cloned().unwrap_or(u64::MAX..u64::MAX);
        let (tar, at, end) = match self.borrowed.at(self.position).filter(|_| hole.contains(&self.position)) {
            Some(loan) => {
                let within = self.position - loan.offset;
                (usize::from(loan.tar), loan.at + within, hole.end.min(loan.offset + loan.bytes))
            }
            None => (0, self.position, hole.start),
        };
        let wanted = buffer.len().min(usize::try_from(end - self.position).unwrap_or(usize::MAX));
        let read = self.tars.get(tar).ok_or_else(missing)?.read_at(&mut buffer[..wanted], at)?;
        self.position += read as u64;
        if read == 0 && wanted > 0 && !self.holes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a tar that the layer needs is cut off"));
        }
        if self.position == hole.end {
            self.holes.pop();
        }
        Ok(read)
    }
}
