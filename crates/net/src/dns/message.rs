//! DNS messages (RFC 1035): the little of them that answering for containers takes. All input is a container's or a
//! stranger's: nothing in it is believed before it was measured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The header of a message.
const HEADER_BYTES: usize = 12;
/// The longest name, and the longest part of one.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;

/// The longest message by UDP that we take; also what EDNS users usually ask for.
pub(super) const DATAGRAM_BYTES_MAX: usize = 4096;

/// How long others may remember what we said: containers come and go.
const LIFE_S: u32 = 5;

const CLASS_INTERNET: u16 = 1;

/// Types of records that we know ourselves.
pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
pub(super) const AAAA: u16 = 28;

/// What we say instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Fine = 0,
    /// The question cannot be read.
    Malformed = 1,
    /// Nobody who might know answered.
    Failed = 2,
}

/// A message with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) id: u16,
    flags: u16,
    /// The name in lower case, without the dot at its end.
    pub(super) name: String,
    pub(super) kind: u16,
    is_internet: bool,
    /// The question as it stood.
    question: Vec<u8>,
}

impl Query {
    /// Reads a question; none if it is none, or not one that can be read.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let header = message.first_chunk::<HEADER_BYTES>()?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (id, flags, questions) = (word(0), word(2), word(4));
        let is_answer = flags & 0x8000 != 0;
        let is_query = flags & 0x7800 == 0;
        if is_answer || !is_query || questions != 1 {
            return None;
        }
        Self::question(message, id, flags)
    }

    /// The question of a message, whatever else it is.
    fn question(message: &[u8], id: u16, flags: u16) -> Option<Self> {
        let mut name = String::new();
        let mut at = HEADER_BYTES;
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            // Also refuses what points elsewhere, which a question has no reason to.
            let label = message.get(at..at + length).filter(|_| length <= LABEL_BYTES_MAX)?;
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            at += length;
            if at - HEADER_BYTES > NAME_BYTES_MAX {
                return None;
            }
        }
        let tail = message.get(at..at + 4)?;
        let kind = u16::from_be_bytes([tail[0], tail[1]]);
        let is_internet = u16::from_be_bytes([tail[2], tail[3]]) == CLASS_INTERNET;
        let question = message[HEADER_BYTES..at + 4].to_vec();
        Some(Self { id, flags, name, kind, is_internet, question })
    }

    /// Whether we may know the answer at all.
    pub(super) fn is_ours(&self) -> bool {
        self.is_internet && [A, AAAA, PTR].contains(&self.kind)
    }

    /// Whether a message answers this question, asked under another number.
    pub(super) fn is_answered_by(&self, message: &[u8], id: u16) -> bool {
        let Some(header) = message.first_chunk::<HEADER_BYTES>() else { return false };
        let flags = u16::from_be_bytes([header[2], header[3]]);
        let answered = Self::question(message, id, flags);
        flags & 0x8000 != 0
            && u16::from_be_bytes([header[0], header[1]]) == id
            && answered.is_some_and(|other| (other.name, other.kind) == (self.name.clone(), self.kind))
    }

    /// An answer without records.
    pub(super) fn refuse(&self, code: Code) -> Vec<u8> {
        self.answer(code, 0)
    }

    /// An answer with addresses.
    pub(super) fn addresses(&self, addresses: &[IpAddr]) -> Vec<u8> {
        let mut message = self.answer(Code::Fine, addresses.len() as u16);
        for address in addresses {
            match address {
                IpAddr::V4(address) => record(&mut message, A, &address.octets()),
                IpAddr::V6(address) => record(&mut message, AAAA, &address.octets()),
            }
        }
        message
    }

    /// An answer with a name.
    pub(super) fn name(&self, name: &str) -> Vec<u8> {
        let mut encoded = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            let label = &label.as_bytes()[..label.len().min(LABEL_BYTES_MAX)];
            encoded.push(label.len() as u8);
            encoded.extend_from_slice(label);
        }
        encoded.push(0);
        let mut message = self.answer(Code::Fine, 1);
        record(&mut message, PTR, &encoded);
        message
    }

    fn answer(&self, code: Code, records: u16) -> Vec<u8> {
        const ANSWER: u16 = 0x8000;
        const WISHES_RECURSION: u16 = 0x0100;
        const CAN_RECURSION: u16 = 0x0080;
        let flags = ANSWER | (self.flags & WISHES_RECURSION) | CAN_RECURSION | code as u16;
        let mut message = Vec::with_capacity(512);
        for word in [self.id, flags, 1, records, 0, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(&self.question);
        message
    }

    /// The address whose name is asked for.
    pub(super) fn reversed_address(&self) -> Option<IpAddr> {
        if let Some(digits) = self.name.strip_suffix(".in-addr.arpa") {
            let mut parts: Vec<&str> = digits.split('.').collect();
            parts.reverse();
            return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        }
        let digits = self.name.strip_suffix(".ip6.arpa")?;
        let hex: String = digits.split('.').rev().collect();
        let number = u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32)?;
        Some(Ipv6Addr::from_bits(number).into())
    }
}

/// Adds a record about the name in the question.
fn record(message: &mut Vec<u8>, kind: u16, data: &[u8]) {
    /// Points to the name behind the header.
    const NAME: u16 = 0xc000 | HEADER_BYTES as u16;
    for word in [NAME, kind, CLASS_INTERNET] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(&LIFE_S.to_be_bytes());
    message.extend_from_slice(&(data.len() as u16).to_be_bytes());
    message.extend_from_slice(data);
}

/// Says that a message cannot be read, if it has a number to say it under.
pub(super) fn malformed(message: &[u8]) -> Option<Vec<u8>> {
    let header = message.first_chunk::<HEADER_BYTES>()?;
    // An answer is not answered: two of us would never end.
    if header[2] & 0x80 != 0 {
        return None;
    }
    let mut answer = vec![0; HEADER_BYTES];
    answer[..2].copy_from_slice(&header[..2]);
    answer[2] = 0x80;
    answer[3] = Code::Malformed as u8;
    Some(answer)
}

/// Puts another number on a message.
pub(super) fn renumber(message: &mut [u8], id: u16) {
    if let Some(first) = message.first_chunk_mut::<2>() {
        *first = id.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let message = ask("Web.Example", A);
        let query = Query::read(&message).unwrap();
        assert_eq!((query.id, query.name.as_str(), query.kind), (0x1234, "web.example", A));
        let answer = query.addresses(&["10.0.0.2".parse().unwrap()]);
        let mut expected = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        expected.extend_from_slice(&message[12..]);
        expected.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 2]);
        assert_eq!(answer, expected);
        assert!(query.is_answered_by(&answer, 0x1234));
        assert!(!query.is_answered_by(&answer, 0x1235));
        assert!(!query.is_answered_by(&message, 0x1234));
        assert_eq!(query.refuse(Code::Failed)[3] & 0xf, 2);
    }

    #[test]
    fn reversed_addresses_are_read() {
        let address = |name: &str| Query::read(&ask(name, PTR)).unwrap().reversed_address();
        assert_eq!(address("2.0.17.172.in-addr.arpa"), Some("172.17.0.2".parse().unwrap()));
        let six = format!("{}ip6.arpa", "2.".to_owned() + &"0.".repeat(29) + "d.f.");
        assert_eq!(address(&six), Some("fd00::2".parse().unwrap()));
        assert_eq!(address("x.in-addr.arpa"), None);
        assert_eq!(address("1.ip6.arpa"), None);
    }

    #[test]
    fn no_prefix_or_flip_of_a_message_panics() {
        let message = ask("a.b.c", A);
        for end in 0..message.len() {
            assert_eq!(Query::read(&message[..end]), None);
            assert!(malformed(&message[..end]).is_none() || end >= 12);
        }
        for at in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            if let Some(query) = Query::read(&flipped) {
                query.is_answered_by(&flipped, 1);
                query.reversed_address();
            }
        }
        let mut looping = message[..12].to_vec();
        looping.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(Query::read(&looping), None);
        assert_eq!(Query::read(&ask(&["a"; 200].join("."), A)), None);
    }
}
