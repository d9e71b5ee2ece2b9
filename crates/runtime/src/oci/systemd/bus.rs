//! A conversation with systemd, by way of a bus or directly.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use super::wire::{self, Call, FIXED_BYTES, Kind, Message, Writer};

/// How long systemd may take for one thing.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Where systemd itself listens, and no bus that would want to be greeted.
const DIRECT: &str = "systemd/private";
/// Longer lines are not said while two find out who they are.
const LINE_BYTES_MAX: usize = 1024;

/// An open conversation.
#[derive(Debug)]
pub(super) struct Bus {
    socket: UnixStream,
    serial: u32,
    /// What was told without having been asked for.
    signals: Vec<Message>,
}

/// What the other side did not do, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The name of the failure.
    pub(super) name: String,
    text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.name)
    }
}

impl std::error::Error for Refusal {}

impl Bus {
    /// Connects to the first of `addresses` where somebody answers (D-Bus specification, server addresses).
    pub(super) fn connect(addresses: &[String]) -> Result<Self> {
        let mut why = Error::new(ErrorKind::NotFound, "nobody says where systemd is");
        for one in addresses.iter().flat_map(|list| list.split(';')) {
            match place(one).and_then(|place| Self::begin(&place)) {
                Ok(bus) => return Ok(bus),
                // Whoever was there says more than who was not.
                Err(error) if why.kind() == ErrorKind::NotFound => {
                    why = Error::new(error.kind(), format!("{one}: {error}"));
                }
                Err(error) => tracing::debug!(%error, "nobody at {one}"),
            }
        }
        Err(why)
    }

    fn begin(place: &SocketAddr) -> Result<Self> {
        let mut socket = UnixStream::connect_addr(place)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        socket.set_write_timeout(Some(ANSWER_MAX))?;
        // Who we are is what the kernel says: in a user namespace we know another number for ourselves. All is said at once:
        // systemd forgets a message that it reads together with the last line.
        socket.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            let line = line(&mut socket)?;
            match line.split(' ').next() {
                Some("OK") => break,
                Some("DATA") => {}
                _ => return Err(Error::new(ErrorKind::PermissionDenied, line)),
            }
        }
        let mut this = Self { socket, serial: 0, signals: Vec::new() };
        if place.as_pathname().is_some_and(|path| path.ends_with(DIRECT)) {
            return Ok(this);
        }
        let hello = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
        };
        this.call(&hello, &Writer::default())?.map_err(Error::other)?;
        let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        this.call(&Call { member: "AddMatch", ..hello }, &Writer::default().text(rule))?.map_err(Error::other)?;
        Ok(this)
    }

    /// Asks for something and waits for the answer.
    pub(super) fn call(&mut self, call: &Call<'_>, values: &Writer) -> Result<std::result::Result<Message, Refusal>> {
        self.serial += 1;
        self.socket.write_all(&values.message(call, self.serial))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                Kind::Signal => self.signals.push(message),
                Kind::Answer if message.answers == Some(self.serial) => return Ok(Ok(message)),
                Kind::Failure if message.answers == Some(self.serial) => {
                    let text = message.body().string().unwrap_or_default();
                    return Ok(Err(Refusal { name: message.name, text }));
                }
                _ => {}
            }
        }
    }

    /// Waits for a signal that `wanted` takes something from.
    pub(super) fn signal<T>(&mut self, wanted: impl Fn(&Message) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = self.signals.drain(..).find_map(|signal| wanted(&signal)) {
                return Ok(found);
            }
            let message = self.receive()?;
            self.signals.extend((message.kind == Kind::Signal).then_some(message));
        }
    }

    fn receive(&mut self) -> Result<Message> {
        let late = |error: Error| match error.kind() {
            ErrorKind::WouldBlock => Error::new(ErrorKind::TimedOut, "no answer"),
            _ => error,
        };
        let mut fixed = [0; FIXED_BYTES];
        self.socket.read_exact(&mut fixed).map_err(late)?;
        let mut bytes = vec![0; wire::length(&fixed)?];
        bytes[..FIXED_BYTES].copy_from_slice(&fixed);
        self.socket.read_exact(&mut bytes[FIXED_BYTES..]).map_err(late)?;
        Message::parse(&bytes)
    }
}

/// A line without its end.
fn line(socket: &mut UnixStream) -> Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        line.push(byte[0]);
        if line.len() > LINE_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidData, "a line that is too long"));
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Where one address is: a socket in the filesystem, or one that has a name only.
fn place(address: &str) -> Result<SocketAddr> {
    let unknown = || Error::new(ErrorKind::InvalidInput, "an address of an unknown form");
    let parts = address.strip_prefix("unix:").ok_or_else(unknown)?;
    let find = |key: &str| parts.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('=')).map(unescape);
    match (find("path"), find("abstract")) {
        (Some(path), _) => SocketAddr::from_pathname(path),
        (_, Some(name)) => SocketAddr::from_abstract_name(name),
        _ => Err(unknown()),
    }
}

/// `%20` is a space.
fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                out.extend(&part.as_bytes()[2..]);
            }
            None => {
                out.push(b'%');
                out.extend(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |address: &str, expected: Option<SocketAddr>| {
            assert_eq!(format!("{:?}", place(address).ok()), format!("{expected:?}"), "{address}");
        };
        check("unix:path=/run/a%20b,guid=1", SocketAddr::from_pathname("/run/a b").ok());
        check("unix:guid=1,abstract=x", SocketAddr::from_abstract_name("x").ok());
        check("tcp:host=localhost", None);
        check("unix:tmpdir=/tmp", None);
    }
}
