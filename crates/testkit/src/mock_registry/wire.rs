//! As much of HTTP/1.1 as the mock registry needs.

use std::io::{self, BufRead, Read, Write};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `PUT` …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty in the list of requests seen.
    pub body: Vec<u8>,
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads at most `limit` bytes of the body; what the other side breaks off is what there is.
    pub(super) fn read_body(&mut self, reader: &mut impl BufRead, limit: usize) {
        if self.header("transfer-encoding") == Some("chunked") {
            while self.body.len() < limit {
                let mut line = String::new();
                let Ok(1..) = reader.read_line(&mut line) else { return };
                let Ok(size) = u64::from_str_radix(line.trim(), 16) else { return };
                if reader.by_ref().take(size).read_to_end(&mut self.body).is_err() {
                    return;
                }
                let mut end = [0; 2];
                if reader.read_exact(&mut end).is_err() || size == 0 {
                    return;
                }
            }
            return;
        }
        let length = self.header("content-length").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        // A connection that breaks leaves a part, as it does with a real registry.
        let _broken = reader.by_ref().take(length.min(limit as u64)).read_to_end(&mut self.body);
    }
}

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Reads request line and headers; nothing at the end of the connection, or when the other side wants to speak TLS.
pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Seen>> {
    if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
        return Ok(None);
    }
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(Some(Seen { method, target, headers, body: Vec::new() })),
        }
    }
}

/// An answer to be written.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub(super) cut: Option<usize>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None }
    }

    pub(super) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// Writes it; whether the connection stays open.
    pub(super) fn write(&self, stream: &mut impl Write, method: &str) -> io::Result<bool> {
        let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if method != "HEAD" {
            stream.write_all(&self.body[..self.cut.unwrap_or(self.body.len()).min(self.body.len())])?;
        }
        stream.flush()?;
        Ok(self.cut.is_none())
    }
}
