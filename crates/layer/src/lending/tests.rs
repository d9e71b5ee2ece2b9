use std::fs::File;
use std::io::Read as _;

use proptest::prelude::*;

use super::*;

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
    let content = Content { digest: [7; 32], offset: 512, bytes: 5000 };
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
    let mut file = Vec::new();
    Borrowed::new(loans.into_iter().rev().collect()).write(&mut file).unwrap();
    assert!(Borrowed::read(&file[..]).is_err());
}

proptest! {
    /// Whatever lies elsewhere, and in whatever pieces it is read, the tar is the tar.
    #[test]
    fn what_is_read_is_the_tar(
        pieces in prop::collection::vec((0_u64..6000, 1_u64..20_000, 0_u64..9000, any::<bool>()), 0..12),
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
        let mut own = tar.clone();
        for hole in loans.iter().map(Loan::hole).filter(|hole| !hole.is_empty()) {
            own[hole.start as usize..hole.end as usize].fill(0);
        }
        let dir = tempfile::tempdir().unwrap();
        let files = [("own", own), ("lender", lender)].map(|(name, bytes)| {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            File::open(dir.path().join(name)).unwrap()
        });
        let mut whole = Whole::new(files.into(), &Borrowed::new(loans));
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
