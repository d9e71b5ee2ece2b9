//! Messages of D-Bus, as far as systemd is spoken to (dbus.freedesktop.org/doc/dbus-specification.html).
//!
//! ```text
//! byte order 'l', kind, flags, version 1 │ u32 bytes of the body │ u32 serial │ a(yv) fields │ padding to 8 │ body
//! ```

use std::io::{Error, ErrorKind, Result};

/// The longest message that is read; the specification's limit is the thousandfold.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 17;
/// What stands before the fields, with their length.
pub(super) const FIXED_BYTES: usize = 16;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Answer,
    Failure,
    Signal,
}

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Long(u64),
    Text(String),
    Numbers(Vec<u32>),
    Bytes(Vec<u8>),
}

/// A property and its value.
pub(super) type Property = (&'static str, Value);

/// Who is asked what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// Values one after another, each where its size wants it.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// The types of what was written.
    signature: String,
}

impl Writer {
    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.pad(4);
        self.bytes.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn types(&mut self, signature: &str) {
        self.bytes.push(signature.len() as u8);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements, aligned `to`, are written by `fill`.
    fn array(&mut self, to: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.bytes.len() - 4;
        self.pad(to);
        let start = self.bytes.len();
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(on) => {
                self.types("b");
                self.number(u32::from(*on));
            }
            Value::Long(number) => {
                self.types("t");
                self.pad(8);
                self.bytes.extend(number.to_le_bytes());
            }
            Value::Text(text) => {
                self.types("s");
                self.string(text);
            }
            Value::Numbers(list) => {
                self.types("au");
                self.array(4, |all| list.iter().for_each(|number| all.number(*number)));
            }
            Value::Bytes(bytes) => {
                self.types("ay");
                self.array(1, |all| all.bytes.extend(bytes));
            }
        }
    }

    /// A string.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.string(text);
        self
    }

    /// A truth value.
    pub(super) fn truth(mut self, is: bool) -> Self {
        self.signature.push('b');
        self.number(u32::from(is));
        self
    }

    /// A list of properties.
    pub(super) fn properties(mut self, list: &[Property]) -> Self {
        self.signature.push_str("a(sv)");
        self.array(8, |all| {
            for (name, value) in list {
                all.pad(8);
                all.string(name);
                all.value(value);
            }
        });
        self
    }

    /// The list of units that come with one; there are none.
    pub(super) fn no_more_units(mut self) -> Self {
        self.signature.push_str("a(sa(sv))");
        self.array(8, |_| {});
        self
    }

    /// The message that asks for `call` with these values.
    pub(super) fn message(&self, call: &Call<'_>, serial: u32) -> Vec<u8> {
        let mut all = Self { bytes: vec![b'l', 1, 0, 1], signature: String::new() };
        all.number(self.bytes.len() as u32);
        all.number(serial);
        all.array(8, |fields| {
            let texts =
                [(1, "o", call.path), (2, "s", call.interface), (3, "s", call.member), (6, "s", call.destination)];
            for (code, kind, text) in texts {
                fields.pad(8);
                fields.bytes.push(code);
                fields.types(kind);
                fields.string(text);
            }
            if !self.signature.is_empty() {
                fields.pad(8);
                fields.bytes.push(8);
                fields.types("g");
                fields.types(&self.signature);
            }
        });
        all.pad(8);
        all.bytes.extend(&self.bytes);
        all.bytes
    }
}

/// A message that came.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// What it answers.
    pub(super) answers: Option<u32>,
    /// The name of a failure or of a signal.
    pub(super) name: String,
    body: Vec<u8>,
}

/// How many bytes a message has in all, by its beginning.
pub(super) fn length(fixed: &[u8; FIXED_BYTES]) -> Result<usize> {
    let number = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
    if fixed[0] != b'l' || fixed[3] != 1 {
        return Err(invalid("a message of an unknown form"));
    }
    let (body, fields) = (number(4), number(12));
    let all = FIXED_BYTES.saturating_add(fields).next_multiple_of(8).saturating_add(body);
    if all > MESSAGE_BYTES_MAX { Err(invalid("a message that is too long")) } else { Ok(all) }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

impl Message {
    /// Of all the bytes of a message.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let fields_end = FIXED_BYTES + Reader { bytes, at: 12 }.number()? as usize;
        let body_at = fields_end.next_multiple_of(8);
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Answer,
            Some(3) => Kind::Failure,
            Some(4) => Kind::Signal,
            _ => return Err(invalid("a message of an unknown kind")),
        };
        let body = bytes.get(body_at..).ok_or_else(|| invalid("a message that is cut off"))?.to_vec();
        let mut this = Self { kind, answers: None, name: String::new(), body };
        let mut fields = Reader { bytes: &bytes[..fields_end], at: FIXED_BYTES };
        while fields.at < fields_end {
            fields.pad(8);
            let code = fields.byte()?;
            match (code, fields.types()?.as_str()) {
                (5, "u") => this.answers = Some(fields.number()?),
                // A failure's name and a signal's member.
                (3 | 4, "s") => this.name = fields.string()?,
                (_, "s" | "o") => drop(fields.string()?),
                (_, "g") => drop(fields.types()?),
                (_, "u") => drop(fields.number()?),
                _ => return Err(invalid("a message with an unknown field")),
            }
        }
        Ok(this)
    }

    /// Reads its values one after another.
    pub(super) fn body(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// Values one after another.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn pad(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        self.at = self.at.saturating_add(count);
        taken.ok_or_else(|| invalid("a message that is cut off"))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number.
    pub(super) fn number(&mut self) -> Result<u32> {
        self.pad(4);
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A string, or a path.
    pub(super) fn string(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        let text = self.take(length)?.to_vec();
        self.byte()?;
        String::from_utf8(text).map_err(|_| invalid("text that is none"))
    }

    /// A signature.
    pub(super) fn types(&mut self) -> Result<String> {
        let length = usize::from(self.byte()?);
        let text = self.take(length)?.to_vec();
        self.byte()?;
        String::from_utf8(text).map_err(|_| invalid("text that is none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_the_specification_says() {
        let call = Call { destination: "a.b", path: "/c", interface: "d.e", member: "F" };
        let properties = [("P", Value::Numbers(vec![7])), ("Q", Value::Long(8)), ("R", Value::Bytes(vec![1, 2]))];
        let message = Writer::default().text("x").properties(&properties).message(&call, 9);
        let fields = b"\x01\x01o\0\x02\0\0\0/c\0\0\0\0\0\0\x02\x01s\0\x03\0\0\0d.e\0\0\0\0\0\x03\x01s\0\x01\0\0\0F\0\0\0\0\0\0\0\
                       \x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0\x08\x01g\0\x06sa(sv)\0";
        let body = b"\x01\0\0\0x\0\0\0\x42\0\0\0\0\0\0\0\x01\0\0\0P\0\x02au\0\0\0\x04\0\0\0\x07\0\0\0\0\0\0\0\
                     \x01\0\0\0Q\0\x01t\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01\0\0\0R\0\x02ay\0\0\0\x02\0\0\0\x01\x02";
        let mut expected = b"l\x01\0\x01".to_vec();
        expected.extend((body.len() as u32).to_le_bytes());
        expected.extend([9, 0, 0, 0]);
        expected.extend((fields.len() as u32).to_le_bytes());
        expected.extend(fields);
        expected.resize(expected.len().next_multiple_of(8), 0);
        expected.extend(body);
        assert_eq!(message.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn hostile_messages_are_errors() {
        let call = Call { destination: "a.b", path: "/c", interface: "d.e", member: "F" };
        let message = Writer::default().text("text").message(&call, 1);
        assert_eq!(Message::parse(&message).unwrap().body().string().unwrap(), "text");
        for cut in FIXED_BYTES..message.len() {
            let parsed = Message::parse(&message[..cut]).and_then(|message| message.body().string());
            assert!(parsed.is_err(), "{cut}");
        }
        let mut huge = *message.first_chunk::<FIXED_BYTES>().unwrap();
        assert_eq!(length(&huge).unwrap(), message.len());
        huge[4..8].copy_from_slice(&[255; 4]);
        assert!(length(&huge).is_err());
        for at in 0..message.len() {
            let mut damaged = message.clone();
            damaged[at] ^= 0xff;
            // Whatever it is, it ends.
            drop(Message::parse(&damaged).and_then(|message| message.body().string()));
        }
    }
}
