//! Compressed layers: told apart by their first bytes, read and written as streams.

mod decode;
mod encode;
mod gzip;

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
    use std::io::{Read, Write};

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
