//! An index made small, to be kept until somebody looks into the layer: a zstd frame with a checksum.

use std::io::{self, Read, Write};

use super::image::Image;
use crate::{Error, Result};

/// It takes a few milliseconds a megabyte; higher levels take long and give little more.
const LEVEL: i32 = 3;

impl Image {
    /// Writes it compressed.
    pub fn write_packed(&self, target: &mut dyn Write) -> Result<()> {
        const WRITE: fn(io::Error) -> Error = |source| Error::Io { act: "write the layer's index", source };
        let mut out = zstd::stream::write::Encoder::new(target, LEVEL).map_err(WRITE)?;
        out.include_checksum(true).map_err(WRITE)?;
        self.write_to(&mut out)?;
        out.finish().map(drop).map_err(WRITE)
    }
}

/// Writes an index that was [compressed](Image::write_packed) as it was before.
///
/// # Errors
/// When it is damaged, or `target` takes no more.
pub fn unpack_index(packed: impl Read, target: &mut dyn Write) -> Result<()> {
    zstd::stream::copy_decode(packed, target).map_err(Error::io("unpack the layer's index"))
}
