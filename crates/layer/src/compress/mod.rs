//! Compressed layers: told apart by their first bytes, read and written as streams.

mod decode;
mod encode;
mod gzip;
mod member;
mod window;

pub use decode::Decoder;
pub use encode::{Encoder, Settings};

use crate::{Error, Result};

/// How many bytes [`sniff`] wants to see.
pub const SNIFF_BYTES: usize = 6;

/// A compression that layers are read and written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// None.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Tells the compression from the first bytes of the data; refuses the ones we know and do not read.
pub fn sniff(head: &[u8]) -> Result<Format> {
    match head {
        [0x1f, 0x8b, ..] => Ok(Format::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Format::Zstd),
        // A skippable frame may come first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Format::Zstd),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(Error::Compression { format: "bzip2" }),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::Compression { format: "xz" }),
        [0x04, 0x22, 0x4d, 0x18, ..] => Err(Error::Compression { format: "lz4" }),
        _ => Ok(Format::Plain),
    }
}

impl Format {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use proptest::prelude::*;

    use super::*;

    fn compressed(plain: &[u8], format: Format, threads: usize) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), Settings { format, level: None, threads }).unwrap();
        for piece in plain.chunks(100_000) {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn plain(compressed: &[u8]) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        let mut decoder = Decoder::new(compressed)?;
        decoder.read_to_end(&mut plain).map_err(Error::io("read"))?;
        Ok(plain)
    }

    /// Three megabytes that compress somewhat.
    fn sample() -> Vec<u8> {
        (0..3_000_000u32).map(|at| (at.wrapping_mul(at >> 7) >> 11) as u8 & 0x3f).collect()
    }

    #[test]
    fn compressions_are_told_apart_by_their_first_bytes() {
        let check = |head: &[u8], expected: Format| assert_eq!(sniff(head).unwrap(), expected);
        check(&[0x1f, 0x8b, 8, 0, 0, 0], Format::Gzip);
        check(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], Format::Zstd);
        check(&[0x50, 0x2a, 0x4d, 0x18, 0, 0], Format::Zstd);
        check(b"etc/pa", Format::Plain);
        check(b"", Format::Plain);
        for (head, name) in [(&b"BZh91AY"[..], "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x04\x22\x4d\x18", "lz4")] {
            let message = sniff(head).unwrap_err().to_string();
            assert_eq!(message, format!("layers compressed with {name} are not supported"));
        }
    }

    #[test]
    fn what_is_compressed_decompresses_to_the_same() {
        let sample = sample();
        for format in [Format::Plain, Format::Gzip, Format::Zstd] {
            for threads in [0, 2] {
                let packed = compressed(&sample, format, threads);
                assert_eq!(Decoder::new(packed.as_slice()).unwrap().format(), format);
                assert!(plain(&packed).unwrap() == sample, "{format:?} with {threads} threads");
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_byte_of_gzip() {
        let sample = sample();
        assert!(compressed(&sample, Format::Gzip, 0) == compressed(&sample, Format::Gzip, 3));
    }

    #[test]
    fn several_members_and_frames_are_one_stream() {
        for format in [Format::Gzip, Format::Zstd] {
            let mut both = compressed(b"one ", format, 0);
            both.extend(compressed(b"", format, 0));
            both.extend(compressed(b"two", format, 0));
            assert_eq!(plain(&both).unwrap(), b"one two");
        }
    }

    /// One gzip member as others write it, with a name in its header.
    fn member(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::GzBuilder::new().filename("name").write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// What comes of it when it is read into buffers of these sizes in turn, from a source that gives pieces of `piece` bytes.
    fn read_by(compressed: &[u8], sizes: &[usize], piece: usize) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(Pieces { bytes: compressed, piece }).unwrap();
        let (mut plain, mut buffer) = (Vec::new(), vec![0; *sizes.iter().max().unwrap()]);
        for size in sizes.iter().cycle() {
            let count = decoder.read(&mut buffer[..*size])?;
            if count == 0 {
                break;
            }
            plain.extend_from_slice(&buffer[..count]);
        }
        // It stays at its end.
        assert_eq!(decoder.read(&mut buffer)?, 0);
        Ok(plain)
    }

    struct Pieces<'a> {
        bytes: &'a [u8],
        piece: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.piece.min(buffer.len());
            self.bytes.read(&mut buffer[..most])
        }
    }

    #[test]
    fn members_of_any_size_are_read_into_buffers_of_any_size() {
        const MIB: usize = 1 << 20;
        let noise: Vec<u8> = {
            let mut state = 1u64;
            let step = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            };
            (0..4 * MIB).map(step).collect()
        };
        let sample = sample();
        for lengths in [
            &[MIB, MIB, MIB][..],
            &[0, 1, 0, MIB - 1, MIB + 1, 5000, 2 * MIB, MIB],
            // Too large again and again, and small ones after that.
            &[MIB + 1, MIB + 1, MIB + 1, MIB + 1, MIB + 1, 7, MIB],
        ] {
            for source in [&sample, &noise] {
                let plain: Vec<&[u8]> = lengths.iter().map(|length| &source[..*length]).collect();
                let packed: Vec<u8> = plain.iter().flat_map(|plain| member(plain)).collect();
                for (sizes, piece) in [(&[2 * MIB][..], 100_000), (&[MIB, 3, 70_000], 8 * MIB), (&[8192], 1_000_003)] {
                    assert!(read_by(&packed, sizes, piece).unwrap() == plain.concat(), "{lengths:?} {sizes:?}");
                }
                let cut = &packed[..packed.len() - 1];
                assert!(read_by(cut, &[MIB], MIB).is_err(), "{lengths:?}");
            }
        }
    }

    #[test]
    fn a_checksum_that_is_not_right_is_an_error_wherever_the_member_is() {
        for (before, length) in [(0, 100), (3, 100), (3, 3_000_000), (0, 3_000_000)] {
            let mut packed = member(b"one").repeat(before);
            packed.extend(member(&sample()[..length]));
            let at = packed.len() - 8;
            packed[at] ^= 1;
            packed.extend(member(b"after"));
            assert!(matches!(plain(&packed), Err(Error::Decompress { format: "gzip", .. })), "{before} {length}");
        }
    }

    #[test]
    fn zeros_after_gzip_are_padding_and_anything_else_is_garbage() {
        let mut padded = compressed(b"data", Format::Gzip, 0);
        padded.extend([0; 700]);
        assert_eq!(plain(&padded).unwrap(), b"data");
        padded.push(1);
        assert!(matches!(plain(&padded), Err(Error::Decompress { format: "gzip", .. })));
    }

    #[test]
    fn data_cut_anywhere_is_an_error() {
        for format in [Format::Gzip, Format::Zstd] {
            let whole = compressed(&sample()[..5000], format, 0);
            for end in (6..whole.len()).step_by(97).chain([whole.len() - 1]) {
                assert!(matches!(plain(&whole[..end]), Err(Error::Decompress { .. })), "{format:?} cut at {end}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_data_never_panics(at in 0usize..4000, byte: u8) {
            for format in [Format::Gzip, Format::Zstd] {
                let mut damaged = compressed(&sample()[..5000], format, 0);
                let at = at % damaged.len();
                damaged[at] = byte;
                let _ = plain(&damaged);
            }
        }
    }
}
