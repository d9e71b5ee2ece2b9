//! libdeflate's way to inflate a gzip member in one go, which says how much of its input the member was.
//!
//! It stands here because it is unsafe; the `libdeflater` crate does not have it.

use std::ffi::c_void;
use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_free_decompressor,
    libdeflate_gzip_decompress_ex, libdeflate_result_LIBDEFLATE_SUCCESS as SUCCESS,
};

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inflated {
    /// How long it was.
    pub consumed: usize,
    /// How much came of it.
    pub made: usize,
}

/// Inflates members. It is memory for that.
#[derive(Debug)]
pub struct Decompressor(NonNull<libdeflate_decompressor>);

// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for Decompressor {}

impl Decompressor {
    /// A new one; none if there is no memory for it.
    pub fn new() -> Option<Self> {
        // SAFETY: it takes nothing.
        NonNull::new(unsafe { libdeflate_alloc_decompressor() }).map(Self)
    }

    /// Inflates the member that `input` begins with, its checksum and length verified. None if it is damaged or not all
    /// here, or if `output` has no room for it; then anything may be in there.
    pub fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<Inflated> {
        let (mut consumed, mut made) = (0, 0);
        // SAFETY: the state is a live one, the lengths are those of the slices, and both counts are written to.
        let result = unsafe {
            libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast::<c_void>(),
                input.len(),
                output.as_mut_ptr().cast::<c_void>(),
                output.len(),
                &raw mut consumed,
                &raw mut made,
            )
        };
        (result == SUCCESS).then_some(Inflated { consumed, made })
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: it was allocated by the same library, and nobody has it any more.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `hello\n`, stored: header, one block that is not compressed, checksum, length.
    const HELLO: [u8; 29] = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 6, 0, 0xf9, 0xff, b'h', b'e', b'l', b'l', b'o', b'\n', 0x20, 0x30, 0x3a,
        0x36, 6, 0, 0, 0,
    ];

    #[test]
    fn a_member_is_told_from_what_follows() {
        let mut decompressor = Decompressor::new().unwrap();
        let followed = [HELLO.as_slice(), b"more"].concat();
        let mut output = [0; 10];
        let inflated = decompressor.inflate(&followed, &mut output).unwrap();
        assert_eq!(inflated, Inflated { consumed: HELLO.len(), made: 6 });
        assert_eq!(&output[..6], b"hello\n");
        // Exactly as much room as it needs is enough.
        assert_eq!(decompressor.inflate(&HELLO, &mut output[..6]), Some(inflated));
        assert_eq!(decompressor.inflate(&HELLO, &mut output[..5]), None);
        for end in 0..HELLO.len() {
            assert_eq!(decompressor.inflate(&HELLO[..end], &mut output), None, "cut at {end}");
        }
        let mut damaged = HELLO;
        damaged[16] ^= 1;
        assert_eq!(decompressor.inflate(&damaged, &mut output), None);
    }
}
