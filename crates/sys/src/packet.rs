//! Packets with descriptors between two processes (unix(7), SOCK_SEQPACKET).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Descriptors that one packet may carry: standard streams, and one more.
const DESCRIPTORS_MAX: usize = 4;

/// The longest packet: below the kernel's usual limit on a socket's buffer (net.core.wmem_default, 212992).
pub const PACKET_BYTES_MAX: usize = 128 << 10;

/// Two connected ends.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Listens at `name` in a directory. An old socket there is replaced.
pub fn listen(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = socket()?;
    match rustix::fs::unlinkat(dir, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    rustix::net::bind(&socket, &address(dir, name)?)?;
    rustix::net::listen(&socket, 16)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// The next who connected; none if nobody waits.
pub fn accept(listener: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Connects to who listens at `name` in a directory.
pub fn connect(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = socket()?;
    rustix::net::connect(&socket, &address(dir, name)?)?;
    Ok(socket)
}

fn socket() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// By way of the descriptor: a socket's path has only 108 bytes.
fn address(dir: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Sends one packet. A receiver that is gone is `EPIPE`, never a signal; one that does not read is `EAGAIN` if `block`
/// is false.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>], block: bool) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if bytes.len() > PACKET_BYTES_MAX || (!fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds))) {
        return Err(Errno::MSGSIZE);
    }
    let flags = SendFlags::NOSIGNAL | if block { SendFlags::empty() } else { SendFlags::DONTWAIT };
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Whether the other end is closed. What it has sent before may still be here.
pub fn has_left(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// A received packet.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// Receives one packet; none when the other end is closed. Packets of more than [`PACKET_BYTES_MAX`] are `EMSGSIZE`.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<Packet>> {
    let length = loop {
        match rustix::net::recv(socket, &mut [0_u8; 0][..], RecvFlags::PEEK | RecvFlags::TRUNC) {
            // Reset is told once, when the other end was closed before it read all: what it sent before is still here.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Ok((_, length)) => break length,
            Err(error) => return Err(error),
        }
    };
    if length > PACKET_BYTES_MAX {
        return Err(Errno::MSGSIZE);
    }
    let mut bytes = vec![0_u8; length.max(1)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some(Packet { bytes, fds }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors() {
        let (a, b) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        send(a.as_fd(), b"hello", &[write.as_fd()], true).unwrap();
        drop(write);
        let packet = receive(b.as_fd()).unwrap().unwrap();
        assert_eq!(packet.bytes, b"hello");
        rustix::io::write(&packet.fds[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0_u8; 8]).unwrap(), 1);
        assert!(!has_left(b.as_fd()));
        drop(a);
        assert!(has_left(b.as_fd()));
        assert!(receive(b.as_fd()).unwrap().is_none());
    }

    #[test]
    fn what_was_said_before_the_end_arrives_though_the_answer_was_not_read() {
        let (a, b) = pair().unwrap();
        send(b.as_fd(), b"failed", &[], true).unwrap();
        send(a.as_fd(), b"go", &[], true).unwrap();
        drop(b);
        assert_eq!(receive(a.as_fd()).unwrap().unwrap().bytes, b"failed");
        assert!(receive(a.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_packet_that_is_too_long_is_refused() {
        let (a, _b) = pair().unwrap();
        assert_eq!(send(a.as_fd(), &vec![0; PACKET_BYTES_MAX + 1], &[], true), Err(Errno::MSGSIZE));
    }
}
