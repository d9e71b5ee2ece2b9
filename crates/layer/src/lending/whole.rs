//! The exact tar of a layer that borrows.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use super::{Borrowed, Loan};

/// Reads a layer's tar from its own and from its lenders'.
#[derive(Debug)]
pub struct Whole {
    /// Its own first.
    tars: Vec<File>,
    /// What lies elsewhere and was not reached yet, the last first.
    loans: Vec<Loan>,
    position: u64,
}

impl Whole {
    /// Starts at the beginning; `tars` are the layer's own and its lenders'.
    pub fn new(tars: Vec<File>, borrowed: &Borrowed) -> Self {
        let loans = borrowed.loans().iter().rev().filter(|loan| !loan.hole().is_empty()).copied().collect();
        Self { tars, loans, position: 0 }
    }
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "the layer lacks one of its lenders");
        let (hole, loan) = match self.loans.last() {
            Some(loan) => (loan.hole(), Some(*loan)),
            None => (u64::MAX..u64::MAX, None),
        };
        let (tar, at, end) = match loan {
            Some(loan) if hole.contains(&self.position) => {
                (usize::from(loan.tar), loan.at + (self.position - loan.offset), hole.end)
            }
            _ => (0, self.position, hole.start),
        };
        let wanted = buffer.len().min(usize::try_from(end - self.position).unwrap_or(usize::MAX));
        let read = self.tars.get(tar).ok_or_else(missing)?.read_at(&mut buffer[..wanted], at)?;
        self.position += read as u64;
        if read == 0 && wanted > 0 && loan.is_some() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a tar that the layer needs is cut off"));
        }
        if self.position == hole.end {
            self.loans.pop();
        }
        Ok(read)
    }
}
