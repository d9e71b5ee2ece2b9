//! Maps of files with holes, in the four ways tars write them down.

use super::header::Block;
use super::{Limits, field};
use crate::Extent;

type Problem = &'static str;

/// Checks extents read in turn as offset and length, and leaves empty ones out: GNU tar marks a hole at the end so.
pub(super) fn extents(numbers: &[u64], real_size: u64, packed: u64) -> Result<Vec<Extent>, Problem> {
    if !numbers.len().is_multiple_of(2) {
        return Err("the map of a sparse file is cut off");
    }
    let (mut end, mut sum) = (0u64, 0u64);
    let mut extents = Vec::with_capacity(numbers.len() / 2);
    for pair in numbers.chunks_exact(2) {
        let (offset, length) = (pair[0], pair[1]);
        if offset < end {
            return Err("the extents of a sparse file overlap");
        }
        end =
            offset.checked_add(length).filter(|&end| end <= real_size).ok_or("an extent lies beyond the file's end")?;
        sum += length;
        if length > 0 {
            extents.push(Extent { offset, length });
        }
    }
    if sum == packed { Ok(extents) } else { Err("the extents of a sparse file do not add up to its data") }
}

/// Reads the extents in an old GNU header; true if a block with more follows.
pub(super) fn old_gnu_header(block: &Block, numbers: &mut Vec<u64>) -> Result<bool, Problem> {
    pairs(&block[field::GNU_SPARSE], numbers)?;
    Ok(block[field::GNU_EXTENDED] != 0)
}

/// Reads the extents in a block that follows an old GNU header.
pub(super) fn old_gnu_block(block: &Block, numbers: &mut Vec<u64>, limits: &Limits) -> Result<bool, Problem> {
    pairs(&block[..504], numbers)?;
    if numbers.len() as u64 > limits.extents.saturating_mul(2) {
        return Err("a sparse file has too many extents");
    }
    Ok(block[504] != 0)
}

fn pairs(area: &[u8], numbers: &mut Vec<u64>) -> Result<(), Problem> {
    for pair in area.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        for half in [&pair[..12], &pair[12..]] {
            let number = field::number(half).and_then(|number| u64::try_from(number).ok());
            numbers.push(number.ok_or("the map of a sparse file is malformed")?);
        }
    }
    Ok(())
}

/// Reads the map that GNU sparse 1.0 puts before the data: a count, then numbers, each on a line of its own, to the
/// end of a block.
#[derive(Debug, Default)]
pub(super) struct MapReader {
    line: Vec<u8>,
    count: Option<u64>,
    numbers: Vec<u64>,
}

impl MapReader {
    /// Takes one more block; true if the map is complete. What follows in the block is padding.
    pub(super) fn block(&mut self, block: &Block, limits: &Limits) -> Result<bool, Problem> {
        const MALFORMED: Problem = "the map of a sparse file is malformed";
        const DIGITS_MAX: usize = 20;
        for &byte in block {
            if byte != b'\n' {
                if self.line.len() >= DIGITS_MAX {
                    return Err(MALFORMED);
                }
                self.line.push(byte);
                continue;
            }
            let number = field::decimal(&self.line).ok_or(MALFORMED)?;
            self.line.clear();
            match self.count {
                None if number > limits.extents => return Err("a sparse file has too many extents"),
                None => self.count = Some(number),
                Some(_) => self.numbers.push(number),
            }
            if self.count == Some(self.numbers.len() as u64 / 2) && self.numbers.len().is_multiple_of(2) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The offsets and lengths, in turn.
    pub(super) fn into_numbers(self) -> Vec<u64> {
        self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::super::BLOCK_BYTES;
    use super::*;

    #[test]
    fn maps_must_be_in_order_inside_the_file_and_add_up() {
        assert_eq!(extents(&[0, 1, 5, 2, 9, 0], 9, 3).unwrap().len(), 2);
        assert!(extents(&[5, 1, 0, 2], 9, 3).is_err());
        assert!(extents(&[0, 3, 2, 2], 9, 5).is_err());
        assert!(extents(&[0, 10], 9, 10).is_err());
        assert!(extents(&[u64::MAX, 2], u64::MAX, 2).is_err());
        assert!(extents(&[0, 1], 9, 2).is_err());
        assert!(extents(&[0], 9, 0).is_err());
    }

    #[test]
    fn a_map_may_span_blocks() {
        let read = |text: &[u8]| {
            let mut reader = MapReader::default();
            for part in text.chunks(BLOCK_BYTES) {
                let mut block = [0u8; BLOCK_BYTES];
                block[..part.len()].copy_from_slice(part);
                if reader.block(&block, &Limits::GENEROUS)? {
                    return Ok(Some(reader.into_numbers()));
                }
            }
            Ok::<_, Problem>(None)
        };
        assert_eq!(read(b"2\n0\n1\n5\n2\n"), Ok(Some(vec![0, 1, 5, 2])));
        assert_eq!(read(b"0\n"), Ok(Some(vec![])));
        let long = format!("400\n{}", (0..800).map(|number| format!("{number}\n")).collect::<String>());
        assert_eq!(read(long.as_bytes()), Ok(Some((0..800).collect())));
        assert!(read(b"99999999\n").is_err());
        assert!(read(&[b'1'; 600]).is_err());
        assert!(read(b"x\n").is_err());
        assert!(read(b"2\n0\n1\n5\n").is_err(), "padding is no number");
    }
}
