//! Writing output to the system's journal, in its native protocol: a datagram of fields for each line
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::{Stream, spec};

/// How long a full journal may hold up output before a line is given up.
const SEND_MAX: Duration = Duration::from_secs(5);

/// A connection to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    /// What every datagram says, encoded.
    fields: Vec<u8>,
}

impl Journal {
    pub(super) fn connect(how: &spec::Journal) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&how.socket)?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        let mut fields = Vec::new();
        for (name, value) in &how.fields {
            field(&mut fields, name, value.as_bytes());
        }
        Ok(Self { socket, fields })
    }

    /// Sends a line, or a part of one, which has no newline at its end.
    pub(super) fn send(&self, stream: Stream, line: &[u8]) -> io::Result<()> {
        let mut datagram = self.fields.clone();
        // LOG_INFO and LOG_ERR, as Docker has them.
        field(&mut datagram, "PRIORITY", if stream == Stream::Stdout { b"6" } else { b"3" });
        let message = line.strip_suffix(b"\n");
        if message.is_none() {
            field(&mut datagram, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut datagram, "MESSAGE", message.unwrap_or(line));
        self.socket.send(&datagram).map(drop)
    }
}

/// `NAME=VALUE`, or with its length in front where the value has newlines.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_datagram_of_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let fields = [("CONTAINER_NAME", "web"), ("NOTE", "two\nlines")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let connected = Journal::connect(&spec::Journal { socket: path, fields }).unwrap();
        let mut buffer = [0; 1000];
        let mut heard = || {
            let read = journal.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..read].to_vec()).unwrap()
        };
        let head = "CONTAINER_NAME=web\nNOTE\n\u{9}\0\0\0\0\0\0\0two\nlines\n";
        connected.send(Stream::Stdout, b"out\n").unwrap();
        assert_eq!(heard(), format!("{head}PRIORITY=6\nMESSAGE=out\n"));
        connected.send(Stream::Stderr, b"part").unwrap();
        assert_eq!(heard(), format!("{head}PRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=part\n"));
    }

    #[test]
    fn without_a_journal_nothing_is_connected() {
        let how = spec::Journal { socket: "/absent/socket".into(), fields: Default::default() };
        assert!(Journal::connect(&how).is_err());
    }
}
