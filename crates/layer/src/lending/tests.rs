use std::fs::File;
use std::io::Read as _;

use proptest::prelude::*;

use super::*;
use crate::Kind;
use crate::collect::{file, with_kind};
use crate::tar::{Limits, Parser, Times, encode, end_of_archive, padding_bytes};

#[test]
fn blocks_are_whole_ones_only() {
    for (offset, bytes, expected) in [
        (0, 4096, 0..4096),
        (1, 4096, 4096..4096),
        (512, 8000, 4096..8192),
        (4096, 10, 4096..4096),
        (5000, 100, 8192..8192),
    ] {
        assert_eq!(whole_blocks(offset, bytes), expected, "{bytes} from {offset}");
    }
}

#[test]
fn torn_lists_count_for_nothing_or_are_told() {
    let content = Piece { digest: [7; 32], offset: 512, bytes: 5000 };
    let mut file = Vec::new();
    Contents::write([content, content].into_iter(), &mut file).unwrap();
    assert_eq!(Contents::read(&file).collect::<Vec<_>>(), [content, content]);
    for length in 0..file.len() {
        assert_eq!(Contents::read(&file[..length]).count(), 0, "{length}");
    }
    file[40] ^= 1;
    assert_eq!(Contents::read(&file).count(), 0);
    let loans = vec![
        Loan { offset: 512, bytes: 9000, tar: 1, at: 1024 },
        Loan { offset: 10_240, bytes: 5000, tar: 0, at: 512 },
    ];
    let mut file = Vec::new();
    Borrowed::new(loans.clone()).write(&mut file).unwrap();
    assert_eq!(Borrowed::read(&file[..]).unwrap().loans(), loans);
    for length in 0..file.len() {
        assert!(Borrowed::read(&file[..length]).is_err(), "{length}");
    }
    // Lists of the first version are read.
    let first: Vec<u8> = [b"strata borrowed1", &file[16..]].concat();
    assert_eq!(Borrowed::read(&first[..]).unwrap().loans(), loans);
    assert!(Borrowed::read(&[b"strata borrowed3", &file[16..]].concat()[..]).is_err());
    let mut file = Vec::new();
    Borrowed::new(loans.into_iter().rev().collect()).write(&mut file).unwrap();
    assert!(Borrowed::read(&file[..]).is_err());
}

#[test]
fn what_lies_elsewhere_is_found_by_any_of_its_bytes() {
    let borrowed = Borrowed::new(vec![
        Loan { offset: 512, bytes: 9000, tar: 1, at: 1024 },
        Loan { offset: 10_240, bytes: 5000, tar: 2, at: 512 },
    ]);
    for (offset, expected) in [
        (0, None),
        (511, None),
        (512, Some((1, 1024))),
        (1024, Some((1, 1536))),
        (9511, Some((1, 10_023))),
        (9512, None),
        (10_240, Some((2, 512))),
        (15_239, Some((2, 5511))),
        (15_240, None),
    ] {
        assert_eq!(borrowed.place(offset), expected, "{offset}");
    }
}

#[test]
fn parts_beside_each_other_give_one_hole() {
    let loan = |offset, bytes, tar| Loan { offset, bytes, tar, at: 512 };
    let borrowed =
        Borrowed::new(vec![loan(100, 5000, 1), loan(5100, 700, 2), loan(5800, 3000, 0), loan(9000, 9000, 1)]);
    assert_eq!(borrowed.holes().collect::<Vec<_>>(), [4096..8192, 12_288..16_384]);
    assert_eq!(borrowed.saved_bytes(), 8192);
    assert_eq!(borrowed.clone().without_small_holes(4096), borrowed);
    assert_eq!(borrowed.without_small_holes(4097), Borrowed::default());
}

/// A tar of files of so many bytes, each with other ones; those in `changed` have still others.
fn tar(sizes: &[usize], changed: &[usize]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        if number % 17 == 3 {
            encode(&with_kind(&format!("dir{}/pipe{number}", "long".repeat(60)), Kind::Fifo), Times::Seconds, &mut tar);
        }
        encode(&file(&format!("dir{}/file{number}", number / 20), *size as u64), Times::Seconds, &mut tar);
        let first = if changed.contains(&number) { 128 } else { 0 };
        tar.extend((0..*size).map(|at| (at * 31 + number * 7 + at / 256 + first) as u8));
        tar.resize(tar.len() + padding_bytes(*size as u64), 0);
    }
    tar.extend_from_slice(end_of_archive());
    tar
}

fn pieces(tar: &[u8], step: usize) -> Vec<Piece> {
    let (mut contents, limits) = (Contents::default(), Limits::GENEROUS);
    let mut parser = Parser::new(&limits);
    for chunk in tar.chunks(step) {
        parser.feed(chunk, &mut contents).unwrap();
    }
    parser.finish().unwrap();
    contents.into_found()
}

#[test]
fn a_change_changes_the_piece_that_it_is_in() {
    // A thousand small files, and a large one now and then.
    let sizes: Vec<usize> =
        (0..1000).map(|number| if number % 90 == 70 { 50_000 + number } else { number * 37 % 6000 }).collect();
    let [before, after] = [tar(&sizes, &[]), tar(&sizes, &[100, 501, 790])].map(|tar| pieces(&tar, tar.len()));
    let known: std::collections::HashSet<PieceDigest> = before.iter().map(|piece| piece.digest).collect();
    let new: u64 = after.iter().filter(|piece| !known.contains(&piece.digest)).map(|piece| piece.bytes).sum();
    assert!(new < 60_000 + 2 * 60_000, "{new} bytes are in pieces that are new");
    let runs = before.len() - 11;
    let mean = sizes.iter().filter(|size| **size < 16_384).sum::<usize>() / runs;
    assert!((15_000..40_000).contains(&mean), "runs of {mean} bytes");
}

proptest! {
    /// Pieces are all of the tar, one after another, and the same however it comes.
    #[test]
    fn pieces_are_all_of_the_tar(
        sizes in prop::collection::vec(prop_oneof![4 => 0_usize..5000, 1 => 16_000_usize..80_000], 0..60),
        step in 1_usize..100_000,
    ) {
        let tar = tar(&sizes, &[]);
        let found = pieces(&tar, step);
        let mut end = 0;
        for piece in &found {
            prop_assert_eq!(piece.offset, end);
            end += piece.bytes;
            let digest = blake3::hash(&tar[piece.offset as usize..end as usize]);
            prop_assert_eq!(piece.digest, *digest.as_bytes());
        }
        prop_assert_eq!(end, tar.len() as u64);
        prop_assert_eq!(found, pieces(&tar, tar.len()));
    }

    /// Whatever lies elsewhere, and in whatever pieces it is read, the tar is the tar.
    #[test]
    fn what_is_read_is_the_tar(
        pieces in prop::collection::vec(
            (prop_oneof![Just(0_u64), 0_u64..6000], prop_oneof![1_u64..20_000, 1_u64..900], 0_u64..9000, any::<bool>()),
            0..20,
        ),
        step in 1_usize..9000,
    ) {
        let byte = |at: u64| (at % 253) as u8;
        let (mut loans, mut end, mut lender) = (Vec::new(), 0, Vec::new());
        for (gap, bytes, shift, lent) in pieces {
            let offset = end + gap;
            end = offset + bytes;
            if lent {
                lender.resize(lender.len() + shift as usize, 0);
                loans.push(Loan { offset, bytes, tar: 1, at: lender.len() as u64 });
                lender.extend((offset..end).map(byte));
            }
        }
        end += 1000;
        let tar: Vec<u8> = (0..end).map(byte).collect();
        let (mut own, borrowed) = (tar.clone(), Borrowed::new(loans));
        for hole in borrowed.holes() {
            own[hole.start as usize..hole.end as usize].fill(0);
        }
        let dir = tempfile::tempdir().unwrap();
        let files = [("own", own), ("lender", lender)].map(|(name, bytes)| {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            File::open(dir.path().join(name)).unwrap()
        });
        let mut whole = Whole::new(files.into(), borrowed);
        let mut read = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            match whole.read(&mut buffer).unwrap() {
                0 => break,
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
        prop_assert!(read == tar);
    }
}
