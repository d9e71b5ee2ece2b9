//! Random bytes from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills an array with random bytes from the kernel's generator, which never runs dry after boot.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("getrandom(2) exists since Linux 3.17 and takes these flags, yet it failed: {error}"),
        }
    }
    bytes
}

/// Returns `2 * N` random lower-case hex digits, for names that nobody else has.
pub fn hex<const N: usize>() -> String {
    strata_types::hex::encode(&bytes::<N>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_names_differ() {
        assert_eq!(super::hex::<16>().len(), 32);
        assert_ne!(super::hex::<16>(), super::hex::<16>());
    }
}
