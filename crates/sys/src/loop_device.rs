//! Files as block devices (loop(4)).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::signal::last_errno;

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` of linux/loop.h.
const GET_FREE: u64 = 0x4c82;
const CONFIGURE: u64 = 0x4c0a;
/// `LO_FLAGS_AUTOCLEAR`: the device lets go of the file when the last who has it open closes it.
const AUTOCLEAR: u32 = 4;

/// `loop_config`.
#[repr(C)]
struct Config {
    file: u32,
    block_bytes: u32,
    /// `loop_info64`, of which only the flags are not zero.
    before_flags: [u8; 52],
    flags: u32,
    after_flags: [u8; 176],
    reserved: [u64; 8],
}

/// Makes a block device of a file. It is one as long as somebody has it open: the descriptor, or a device made of it.
pub fn attach(file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let open = |path: &str| rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let control = open("/dev/loop-control")?;
    loop {
        // SAFETY: the request takes no argument and gives a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE as _) };
        if number < 0 {
            return Err(last_errno().into());
        }
        let device = open(&format!("/dev/loop{number}"))?;
        let config = Box::new(Config {
            file: file.as_raw_fd() as u32,
            block_bytes: 0,
            before_flags: [0; 52],
            flags: AUTOCLEAR,
            after_flags: [0; 176],
            reserved: [0; 8],
        });
        // SAFETY: the argument has the layout that the request reads.
        match unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE as _, std::ptr::from_ref(&*config)) } {
            0 => return Ok(device),
            // Somebody else was quicker.
            _ if last_errno() == Errno::BUSY => {}
            _ => return Err(last_errno().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_the_kernels_size() {
        assert_eq!(size_of::<Config>(), 304);
        assert_eq!(std::mem::offset_of!(Config, flags), 60);
    }
}
