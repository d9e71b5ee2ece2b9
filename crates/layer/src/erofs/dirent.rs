//! The blocks of a directory: entries, then their names, sorted through all blocks.

use super::format::{BLOCK_BYTES, DIRENT_BYTES};

/// One line of a directory, before inodes have numbers.
pub(super) struct Line<'a, T> {
    pub(super) name: &'a [u8],
    pub(super) target: T,
}

/// Sorts lines into blocks.
pub(super) fn blocks<'a, T>(mut lines: Vec<Line<'a, T>>) -> Vec<Vec<Line<'a, T>>> {
    lines.sort_by(|a, b| a.name.cmp(b.name));
    let mut blocks = Vec::new();
    let (mut block, mut used) = (Vec::new(), 0);
    for line in lines {
        let needed = DIRENT_BYTES + line.name.len();
        if used + needed > BLOCK_BYTES {
            blocks.push(std::mem::take(&mut block));
            used = 0;
        }
        used += needed;
        block.push(line);
    }
    blocks.push(block);
    blocks
}

/// How many bytes a block's lines take.
pub(super) fn used<T>(block: &[Line<'_, T>]) -> usize {
    block.iter().map(|line| DIRENT_BYTES + line.name.len()).sum()
}

/// Writes a block; `resolve` gives the number and the type of what a line names.
pub(super) fn write<T: Copy>(block: &[Line<'_, T>], resolve: impl Fn(T) -> (u64, u8), out: &mut Vec<u8>) {
    let mut name_offset = block.len() * DIRENT_BYTES;
    for line in block {
        let (number, kind) = resolve(line.target);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&(name_offset as u16).to_le_bytes());
        out.extend_from_slice(&[kind, 0]);
        name_offset += line.name.len();
    }
    for line in block {
        out.extend_from_slice(line.name);
    }
}
