//! gzip (RFC 1952) as a stream of members.

use std::io::{self, BufRead, Read};

use super::decode::only_zeros;
use super::inflate::{Buffers, Inflate, Status};

const FLAG_HEADER_CHECKSUM: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
const FLAGS_RESERVED: u8 = 0xe0;

/// Reads all members one after another; zeros after the last one are padding, as for `gzip` itself.
pub(super) struct GzipReader<R> {
    source: R,
    inflate: Inflate,
    checksum: libdeflater::Crc,
    /// Bytes of the member so far, modulo 2³².
    size: u32,
    place: Place,
    /// What went wrong after something had been decoded: for the next call.
    failed: Option<io::Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a member; there has to be one.
    First,
    /// At the beginning of a member or the end of the data.
    Next,
    Inside,
    End,
}

impl<R: BufRead> GzipReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            inflate: Inflate::new(),
            checksum: libdeflater::Crc::new(),
            size: 0,
            place: Place::First,
            failed: None,
        }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// Goes to the first block of a member, or to the end.
    fn begin_member(&mut self) -> io::Result<()> {
        if self.place == Place::Next {
            let rest = self.source.fill_buf()?;
            if rest.is_empty() || rest[0] == 0 {
                let zeros = only_zeros(&mut self.source)?;
                self.place = Place::End;
                return if zeros { Ok(()) } else { Err(damaged("there is garbage after the end")) };
            }
        }
        self.header()?;
        self.inflate.reset();
        self.checksum = libdeflater::Crc::new();
        self.size = 0;
        self.place = Place::Inside;
        Ok(())
    }

    fn header(&mut self) -> io::Result<()> {
        let mut fixed = [0; 10];
        self.source.read_exact(&mut fixed)?;
        let [0x1f, 0x8b, method, flags, ..] = fixed else { return Err(damaged("there is garbage after the end")) };
        if method != 8 || flags & FLAGS_RESERVED != 0 {
            return Err(damaged("the header asks for something unknown"));
        }
        if flags & FLAG_EXTRA != 0 {
            let mut length = [0; 2];
            self.source.read_exact(&mut length)?;
            self.skip(u64::from(u16::from_le_bytes(length)))?;
        }
        for text in [FLAG_NAME, FLAG_COMMENT] {
            if flags & text != 0 {
                self.skip_text()?;
            }
        }
        if flags & FLAG_HEADER_CHECKSUM != 0 { self.skip(2) } else { Ok(()) }
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.source).take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Skips text that a NUL ends.
    fn skip_text(&mut self) -> io::Result<()> {
        let mut byte = [1];
        while byte != [0] {
            self.source.read_exact(&mut byte)?;
        }
        Ok(())
    }

    /// Compares checksum and size with what was decoded.
    fn end_member(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        let mut held = 0;
        while held < trailer.len()
            && let Some(byte) = self.inflate.next_byte()
        {
            trailer[held] = byte;
            held += 1;
        }
        self.source.read_exact(&mut trailer[held..])?;
        let [a, b, c, d, size @ ..] = trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.checksum.sum() || u32::from_le_bytes(size) != self.size {
            return Err(damaged("the checksum does not match"));
        }
        self.place = Place::Next;
        Ok(())
    }

    /// Decodes into `buffer`; zero bytes at the end of a member.
    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        let status = loop {
            let input = match self.source.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if filled > 0 => {
                    self.failed = Some(error);
                    break Status::NeedsOutput;
                }
                Err(error) => return Err(error),
            };
            let available = input.len();
            let mut buffers = Buffers { input, output: &mut *buffer, filled };
            let status = self.inflate.decode(&mut buffers).map_err(damaged)?;
            filled = buffers.filled;
            let taken = available - buffers.input.len();
            self.source.consume(taken);
            match status {
                Status::NeedsInput if available == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Status::NeedsInput => {}
                Status::NeedsOutput | Status::Ended => break status,
            }
        };
        let decoded = &buffer[..filled];
        self.checksum.update(decoded);
        self.size = self.size.wrapping_add(decoded.len() as u32);
        self.inflate.remember(decoded);
        if status == Status::Ended {
            self.end_member()?;
        }
        Ok(filled)
    }
}

fn damaged(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while self.place != Place::End && !buffer.is_empty() {
            if self.place != Place::Inside {
                self.begin_member()?;
                continue;
            }
            let count = self.decode(buffer)?;
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(plain: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// Reads with an input buffer and an output buffer of these sizes.
    fn read(compressed: &[u8], input: usize, output: usize) -> io::Result<Vec<u8>> {
        let mut reader = GzipReader::new(BufReader::with_capacity(input, compressed));
        let (mut plain, mut buffer) = (Vec::new(), vec![0; output]);
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(plain),
                count => plain.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn check(plain: &[u8], input: usize, output: usize) {
        for level in [0, 1, 6, 9] {
            let compressed = gzip(plain, level);
            assert!(read(&compressed, input, output).unwrap() == plain, "level {level}, {input} in, {output} out");
        }
        let mut best = vec![0; plain.len() + 1000];
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
        let length = compressor.gzip_compress(plain, &mut best).unwrap();
        assert!(read(&best[..length], input, output).unwrap() == plain, "libdeflate, {input} in, {output} out");
    }

    /// Pieces that compress in different ways: noise, runs, patterns of every short distance, and far repetitions.
    fn any_data() -> impl Strategy<Value = Vec<u8>> {
        let noise = prop::collection::vec(any::<u8>(), 0..3000);
        let few = prop::collection::vec(0u8..4, 0..3000);
        let pattern =
            (prop::collection::vec(any::<u8>(), 1..40), 1usize..400).prop_map(|(part, times)| part.repeat(times));
        let piece = prop_oneof![noise, few, pattern];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| {
            let mut all = pieces.concat();
            let again = all.clone();
            all.extend(vec![7; again.len() % 30_000]);
            all.extend(again);
            all
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn what_any_encoder_writes_is_read(data in any_data(), input in 1usize..5000, output in 1usize..100_000) {
            check(&data, input, output);
        }

        #[test]
        fn damage_is_an_error_or_changes_nothing(data in any_data(), at: prop::sample::Index, bit in 0u8..8) {
            let mut compressed = gzip(&data, 6);
            // Some bits of the header mean nothing.
            let at = 10 + at.index(compressed.len() - 10);
            compressed[at] ^= 1 << bit;
            match (read(&compressed, 4096, 65536), flate2::bufread::GzDecoder::new(&compressed[..])) {
                (Ok(plain), _) => prop_assert!(plain == data),
                (Err(_), mut oracle) => prop_assert!(io::copy(&mut oracle, &mut io::sink()).is_err()),
            }
        }
    }

    #[test]
    fn large_data_of_many_kinds_is_read() {
        let mut data = Vec::new();
        for at in 0..3_000_000u32 {
            data.push(match at / 100_000 % 4 {
                0 => (at.wrapping_mul(2_654_435_761) >> 24) as u8,
                1 => b"the quick brown fox jumps over the lazy dog "[at as usize % 44],
                2 => (at.wrapping_mul(at >> 9) >> 13) as u8 & 0x1f,
                _ => 0,
            });
        }
        check(&data, 256 << 10, 512 << 10);
        check(&data, 1000, 33_000);
    }

    #[test]
    fn every_part_of_a_header_is_passed_over() {
        let builder = GzBuilder::new().extra(vec![1; 300]).filename("name").comment("comment");
        let mut encoder = builder.write(Vec::new(), Compression::best());
        encoder.write_all(b"content").unwrap();
        assert_eq!(read(&encoder.finish().unwrap(), 7, 100).unwrap(), b"content");
    }

    #[test]
    fn a_wrong_checksum_or_size_is_an_error() {
        let compressed = gzip(b"content", 6);
        for from_end in 1..=8 {
            let mut damaged = compressed.clone();
            let at = damaged.len() - from_end;
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, 100, 100).unwrap_err().to_string(), "the checksum does not match");
        }
    }

    #[test]
    fn codes_that_are_none_are_refused() {
        let check = |bits: &[u8], expected: &str| {
            let member = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0][..], bits, &[0; 20]].concat();
            assert_eq!(read(&member, 100, 100).unwrap_err().to_string(), expected);
        };
        check(&[0b111], "a block is of an unknown type");
        check(&[0b001, 1, 0, 1, 0], "the length of a stored block is damaged");
        check(&[0xfd, 0xff, 0xff], "a block has too many codes");
        // A match before anything was written: the length code 257 and a distance.
        check(&[0x03, 0x02], "a match reaches before the beginning");
    }
}
