//! Filters of what a socket receives (socket(7), SO_ATTACH_FILTER): what does not pass wakes nobody.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

use crate::signal::last_errno;

/// One instruction of classic BPF, as in linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to leave out if a comparison is true.
    pub if_true: u8,
    /// How many if it is not.
    pub if_false: u8,
    /// With what.
    pub operand: u32,
}

/// Attaches a program that says of each message how many of its bytes are received; 0 drops it.
pub fn attach(socket: BorrowedFd<'_>, program: &[Instruction]) -> Result<()> {
    let mut filters: Vec<libc::sock_filter> = program
        .iter()
        .map(|one| libc::sock_filter { code: one.code, jt: one.if_true, jf: one.if_false, k: one.operand })
        .collect();
    let program = libc::sock_fprog { len: filters.len() as u16, filter: filters.as_mut_ptr() };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: `program` points to `len` instructions, which the kernel checks and copies during the call.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const program).cast(), length) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn what_does_not_pass_is_not_received() {
        const RETURN: u16 = 0x06;
        const LOAD_BYTE: u16 = 0x30;
        const EQUAL: u16 = 0x15;
        let (a, b) = UnixDatagram::pair().unwrap();
        let step = |code, if_true, if_false, operand| Instruction { code, if_true, if_false, operand };
        let program = [
            step(LOAD_BYTE, 0, 0, 0),
            step(EQUAL, 0, 1, u32::from(b'x')),
            step(RETURN, 0, 0, 0),
            step(RETURN, 0, 0, 64),
        ];
        attach(b.as_fd(), &program).unwrap();
        a.send(b"xyz").unwrap();
        a.send(b"abc").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(b.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
    }
}
