//! Netlink: messages with attributes to the kernel, and its answers (netlink(7)).
//!
//! The kernel handles a request while it is being sent: all its acknowledgements wait when `send` returns.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use strata_sys::socket_filter::{self, Instruction};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

/// The message must be answered.
const REQUEST: u16 = 0x1;
/// The message must be acknowledged.
const ACK: u16 = 0x4;
/// List everything.
const DUMP: u16 = 0x300;
/// Make it if it is not there.
pub(crate) const CREATE: u16 = 0x400;
/// Fail if it is there.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// Put it behind those that are there.
pub(crate) const APPEND: u16 = 0x800;

/// An attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// The bits of an attribute's type.
const TYPE: u16 = 0x3fff;

/// The kernel answers: an error, 0 for an acknowledgement.
const ERROR: u16 = 2;
/// The kernel answers: end of a list.
const DONE: u16 = 3;

/// The number of messages that may be about what the kernel does not have; answers have the number of what they answer.
const OPTIONAL: u32 = 1;
/// The number of a batch's last message that is answered.
const LAST: u32 = 2;

/// Drops changes of elements in tables whose name begins as ours do, and the number of the ruleset's state. The table's name
/// is the first attribute.
const NOT_OUR_ELEMENTS: [Instruction; 9] = [
    step(LOAD_BYTE, 0, 0, if cfg!(target_endian = "little") { 4 } else { 5 }),
    step(EQUAL, 6, 0, 15),
    step(EQUAL, 1, 0, 12),
    step(EQUAL, 0, 3, 14),
    step(LOAD_WORD, 0, 0, 24),
    step(EQUAL, 0, 1, u32::from_be_bytes(*b"stra")),
    step(RETURN, 0, 0, 0),
    step(RETURN, 0, 0, u32::MAX),
    step(RETURN, 0, 0, 0),
];
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

const fn step(code: u16, if_true: u8, if_false: u8, operand: u32) -> Instruction {
    Instruction { code, if_true, if_false, operand }
}

/// A message's header.
const HEADER_BYTES: usize = 16;

/// Room for acknowledgements and single things: most sockets hear nothing else.
const ANSWER_BYTES: usize = 4 << 10;
/// The longest part of a list that the kernel gives at once.
const LIST_BYTES: usize = 32 << 10;

/// Room for the largest batch: a firewall with thousands of elements.
const SEND_BYTES: usize = 8 << 20;

/// Messages to be sent together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    last: usize,
}

impl Batch {
    /// Adds a message of this kind; its fixed part and its attributes are put by `fill`.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.last = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        fill(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - self.last) as u32;
        self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Says that the message that was added last is about something that this kernel may not have, and needs not be done then.
    pub(crate) fn optional(&mut self) {
        self.number(OPTIONAL);
    }

    /// Asks for an acknowledgement of the message that was added last: nothing else is answered behind it.
    pub(crate) fn acknowledge(&mut self) {
        if let Some(flag) = self.bytes.get_mut(self.last + 6) {
            *flag |= ACK as u8;
        }
        self.number(LAST);
    }

    fn number(&mut self, number: u32) {
        if let Some(place) = self.bytes.get_mut(self.last + 8..self.last + 12) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
    }
}

/// Where a message's content is put.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl<'a> Attributes<'a> {
    /// Puts attributes behind what is in `bytes`.
    pub(crate) fn into(bytes: &'a mut Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Bytes as they are, filled up to four.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// One attribute.
    pub(crate) fn put(&mut self, kind: u16, bytes: &[u8]) {
        self.0.extend_from_slice(&((bytes.len() + 4) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.raw(bytes);
    }

    /// A text, which ends with a NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        self.put(kind, &bytes);
    }

    /// A number in the machine's order.
    pub(crate) fn number(&mut self, kind: u16, number: u32) {
        self.put(kind, &number.to_ne_bytes());
    }

    /// A number in the network's order, as nftables wants them.
    pub(crate) fn big(&mut self, kind: u16, number: u32) {
        self.put(kind, &number.to_be_bytes());
    }

    /// An attribute that holds what `fill` puts.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The attributes in `bytes`, by type; what is malformed ends them.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, _) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE;
        let content = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// The attribute of one type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

/// An attribute's text, up to its NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in the machine's order.
pub(crate) fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

/// A number in the network's order.
pub(crate) fn big(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

/// One answer of the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The fixed part and the attributes.
    pub(crate) content: Vec<u8>,
}

/// A conversation with one part of the kernel.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, buffer: vec![0; ANSWER_BYTES] }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

impl Socket {
    /// With what keeps interfaces, addresses and routes.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(None, 0)
    }

    /// With what filters packets.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER), 0)
    }

    /// Hears of changes of what filters packets, but not of elements that come and go in tables of ours.
    pub(crate) fn netfilter_changes() -> io::Result<Self> {
        const RULES: u32 = 1 << 6;
        let socket = Self::open(Some(netlink::NETFILTER), RULES)?;
        socket_filter::attach(socket.fd.as_fd(), &NOT_OUR_ELEMENTS)?;
        Ok(socket)
    }

    /// Whether anything was heard since the last time; what it was is not kept.
    pub(crate) fn has_heard(&mut self) -> bool {
        let mut heard = false;
        loop {
            match self.answer(RecvFlags::DONTWAIT) {
                Ok(Some(_)) => heard = true,
                Ok(None) => return heard,
                // Too much happened at once: so something did.
                Err(error) if is(&error, Errno::NOBUFS) => heard = true,
                Err(_) => return heard,
            }
        }
    }

    fn open(family: Option<rustix::net::Protocol>, groups: u32) -> io::Result<Self> {
        let kind = SocketType::RAW;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, family)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(fd.into())
    }

    /// Sends all messages, the last of which is acknowledged; gives the first error.
    pub(crate) fn send(&mut self, batch: &Batch) -> io::Result<()> {
        if batch.bytes.is_empty() {
            return Ok(());
        }
        self.say(batch)?;
        let (mut failed, mut is_over) = (None, false);
        while !is_over && let Some(length) = self.answer(RecvFlags::DONTWAIT)? {
            for message in messages(&self.buffer[..length]) {
                is_over |= message.number == LAST;
                failed = failed.or(error_of(message));
            }
        }
        failed.map_or(Ok(()), |errno| Err(errno.into()))
    }

    /// Sends a batch. What is longer than a socket has room for is sent once more with room.
    fn say(&self, batch: &Batch) -> io::Result<()> {
        let send = || rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, &batch.bytes, SendFlags::empty()));
        match send() {
            Err(Errno::MSGSIZE) => {
                sockopt::set_socket_send_buffer_size_force(&self.fd, SEND_BYTES)?;
                send()?;
            }
            other => drop(other?),
        }
        Ok(())
    }

    /// Asks for a list and gives it to `each`, the fixed part and attributes of an entry at a time.
    pub(crate) fn list(
        &mut self,
        kind: u16,
        fill: impl FnOnce(&mut Attributes<'_>),
        each: impl FnMut(Message),
    ) -> io::Result<()> {
        self.ask(kind, DUMP, fill, each)
    }

    /// Asks for one thing; none if it is not there.
    pub(crate) fn get(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> io::Result<Option<Message>> {
        let mut found = None;
        match self.ask(kind, 0, fill, |message| found = Some(message)) {
            Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::NODEV) => Ok(None),
            other => other.map(|()| found),
        }
    }

    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        fill: impl FnOnce(&mut Attributes<'_>),
        mut each: impl FnMut(Message),
    ) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.message(kind, flags, fill);
        self.say(&batch)?;
        if flags == DUMP {
            self.buffer.resize(LIST_BYTES, 0);
        }
        while let Some(length) = self.answer(RecvFlags::empty())? {
            for message in messages(&self.buffer[..length]) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => return error_of(message).map_or(Ok(()), |errno| Err(errno.into())),
                    _ => each(Message { content: message.content.to_vec() }),
                }
            }
            // One thing is one answer.
            if flags != DUMP {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The length of the next answer; none if there is none now.
    fn answer(&mut self, flags: RecvFlags) -> io::Result<Option<usize>> {
        let fd = self.fd.as_fd();
        match rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut self.buffer[..], flags)) {
            Ok((length, _)) => Ok(Some(length)),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether that was the reason.
pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

struct Received<'a> {
    kind: u16,
    number: u32,
    content: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = number(bytes)? as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let of = number(bytes.get(8..)?)?;
        // An answer to a long request holds the request and is cut.
        let end = length.min(bytes.len());
        let content = bytes.get(HEADER_BYTES..end)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Received { kind, number: of, content })
    })
}

fn error_of(message: Received<'_>) -> Option<Errno> {
    if message.kind != ERROR {
        return None;
    }
    let code = number(message.content)? as i32;
    let errno = (code != 0).then(|| Errno::from_raw_os_error(-code));
    errno.filter(|errno| message.number != OPTIONAL || ![Errno::AFNOSUPPORT, Errno::OPNOTSUPP].contains(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found() {
        let mut batch = Batch::default();
        batch.message(16, 0, |message| {
            message.raw(&[1, 2]);
            message.text(3, "strata0");
            message.nest(18, |info| info.number(7, 9));
        });
        let length = number(&batch.bytes).unwrap() as usize;
        assert_eq!(length, batch.bytes.len());
        let content = &batch.bytes[HEADER_BYTES + 4..];
        assert_eq!(text(attribute(content, 3).unwrap()), "strata0");
        assert_eq!(number(attribute(attribute(content, 18).unwrap(), 7).unwrap()), Some(9));
        assert_eq!(attribute(content, 4), None);
    }

    #[test]
    fn what_the_kernel_does_not_have_is_an_error_unless_it_is_optional() {
        let refused = |number: u32, errno: Errno| {
            let content = (-errno.raw_os_error()).to_ne_bytes();
            error_of(Received { kind: ERROR, number, content: &content })
        };
        let mut batch = Batch::default();
        batch.message(16, 0, |message| message.raw(&[1]));
        let usual = messages(&batch.bytes).next().unwrap().number;
        batch.optional();
        let optional = messages(&batch.bytes).next().unwrap().number;
        for errno in [Errno::AFNOSUPPORT, Errno::OPNOTSUPP] {
            assert_eq!((refused(usual, errno), refused(optional, errno)), (Some(errno), None));
        }
        assert_eq!(refused(optional, Errno::PERM), Some(Errno::PERM));
    }

    #[test]
    fn nonsense_ends_a_list_of_attributes() {
        assert_eq!(attributes(&[1, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[255, 255, 1, 0, 9]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1, 0, 0]).count(), 1);
    }
}
