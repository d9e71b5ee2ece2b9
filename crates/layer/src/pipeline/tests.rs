//! Layers through the whole pipeline, also those that must not pass.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use strata_types::{Digest, Silent, Watch};

use super::*;
use crate::collect::{Collect, any_item, file};
use crate::compress::{Encoder, Format, Settings};
use crate::tar::{Limits, Times, encode, end_of_archive};
use crate::{Entry, Error, LayerSink, Result};

/// A tar with one file of this many zeros.
fn zeros(size: usize) -> Vec<u8> {
    let mut tar = Vec::new();
    encode(&file("zeros", size as u64), Times::Seconds, &mut tar);
    tar.resize(tar.len() + size.next_multiple_of(512), 0);
    tar.extend_from_slice(end_of_archive());
    tar
}

fn compressed(plain: &[u8], format: Format) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), Settings { format, level: None, threads: 0 }).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn read(blob: &[u8], limits: &Limits) -> Result<(Unpacked, Collect)> {
    let mut collect = Collect::default();
    let unpacked = unpack(&mut &blob[..], &mut collect, limits, &Silent)?;
    Ok((unpacked, collect))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_packed_unpacks(items in prop::collection::vec(any_item(), 0..5)) {
        let mut packed = Collect::default();
        let mut packer = Packer::new(&mut packed);
        for (entry, content) in &items {
            packer.add(entry, &mut content.as_slice()).unwrap();
        }
        let made = packer.finish().unwrap();
        prop_assert_eq!(made.diff_id.digest(), &Digest::sha256(&packed.bytes));
        let (unpacked, read) = read(&packed.bytes, &Limits::GENEROUS).unwrap();
        prop_assert_eq!(unpacked, made);
        prop_assert_eq!(&read.framing, &packed.framing);
        prop_assert_eq!(read.items.len(), packed.items.len());
        for (read, packed) in read.items.iter().zip(&packed.items) {
            prop_assert_eq!(read.data_offset, packed.data_offset);
            prop_assert_eq!(&read.content, &packed.content);
            prop_assert_eq!(&read.entry, &packed.entry);
        }
    }
}

#[test]
fn every_compression_gives_the_same_layer() {
    let tar = zeros(5_000_000);
    for format in [Format::Plain, Format::Gzip, Format::Zstd] {
        let (unpacked, collect) = read(&compressed(&tar, format), &Limits::GENEROUS).unwrap();
        assert_eq!(unpacked.diff_id.digest(), &Digest::sha256(&tar));
        assert_eq!((unpacked.tar_bytes, unpacked.entries), (tar.len() as u64, 1));
        assert_eq!(unpacked.content_bytes, 5_000_000);
        assert!(collect.bytes == tar);
        assert!(collect.items[0].ended);
    }
}

#[test]
fn a_large_file_packs_as_it_is() {
    let content: Vec<u8> = (0..3_000_001u32).map(|at| (at >> 5) as u8).collect();
    let mut packed = Collect::default();
    let mut packer = Packer::new(&mut packed);
    packer.add(&file("large", content.len() as u64), &mut content.as_slice()).unwrap();
    let made = packer.finish().unwrap();
    assert_eq!(made.diff_id.digest(), &Digest::sha256(&packed.bytes));
    assert!(packed.items[0].content == content);
}

#[test]
fn a_file_that_became_shorter_is_an_error() {
    let mut packed = Collect::default();
    let error = Packer::new(&mut packed).add(&file("log", 10), &mut &b"short"[..]).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `/log`");
}

#[test]
fn bombs_are_refused_by_size_and_by_ratio() {
    let bomb = compressed(&zeros(40 << 20), Format::Gzip);
    assert!(bomb.len() < 100_000);
    let generous = Limits::GENEROUS;
    let size = Limits { tar_bytes: 10 << 20, ..generous };
    let error = read(&bomb, &size).err().unwrap();
    assert!(matches!(error, Error::Limit { what: "the size of the uncompressed layer", limit: 10_485_760, .. }));
    let ratio = Limits { ratio: 100, ratio_free_bytes: 1 << 20, ..generous };
    let error = read(&bomb, &ratio).err().unwrap();
    assert!(matches!(error, Error::Limit { what: "the ratio of its compression", limit: 100, .. }));
    assert!(read(&zeros(40 << 20), &ratio).is_ok(), "what is not compressed is no bomb");
}

#[test]
fn damaged_layers_are_told_apart() {
    let tar = zeros(3_000_000);
    let gzip = compressed(&tar, Format::Gzip);
    let check = |blob: &[u8], expected: &str| {
        assert_eq!(read(blob, &Limits::GENEROUS).err().unwrap().to_string(), expected);
    };
    check(&gzip[..gzip.len() / 2], "cannot decompress gzip data");
    check(&tar[..tar.len() / 2], "the tar ends in the middle of `zeros`");
    check(b"<html>not a layer at all</html>", "the tar ends in the middle of `byte 31`");
    check(&[b'x'; 2048], "invalid tar entry `byte 512`: the checksum is not a number");
    check(b"BZh91AY&SY", "layers compressed with bzip2 are not supported");
    check(&compressed(b"hello", Format::Gzip), "the tar ends in the middle of `byte 5`");
}

/// Fails like a broken connection.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the other side went away")),
            count => Ok(count),
        }
    }
}

#[test]
fn an_error_of_the_source_is_not_blamed_on_the_data() {
    let gzip = compressed(&zeros(3_000_000), Format::Gzip);
    for blob in [&gzip[..gzip.len() / 2], &gzip[..3]] {
        let error = unpack(&mut Broken(blob), &mut Collect::default(), &Limits::GENEROUS, &Silent).unwrap_err();
        let Error::Io { act: "read the layer", source } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
    }
}

/// Cancels after so many questions.
struct Impatient(AtomicUsize);

impl Watch for Impatient {
    fn phase(&self, _item: &Digest, _phase: &str) {}
    fn progress(&self, _item: &Digest, _done_bytes: u64, _total_bytes: u64) {}
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) >= 3
    }
}

#[test]
fn cancelling_stops_between_chunks() {
    let watch = Impatient(AtomicUsize::new(0));
    let error = unpack(&mut &zeros(40 << 20)[..], &mut Collect::default(), &Limits::GENEROUS, &watch).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
}

/// Has no room.
struct Full;

impl LayerSink for Full {
    fn entry(&mut self, _entry: &Entry, _data_offset: u64) -> Result<()> {
        Ok(())
    }

    fn data(&mut self, _offset: u64, _chunk: &[u8]) -> Result<()> {
        Err(Error::io("write the layer")(io::ErrorKind::StorageFull.into()))
    }
}

#[test]
fn an_error_of_the_sink_ends_everything() {
    for size in [1000, 40 << 20] {
        let error = unpack(&mut &zeros(size)[..], &mut Full, &Limits::GENEROUS, &Silent).unwrap_err();
        assert_eq!(error.class(), strata_types::ErrorClass::Exhausted);
    }
}
