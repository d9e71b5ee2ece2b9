//! `--detach-keys ctrl-p,ctrl-q`.

use super::{Invalid, Result};

/// The keys that leave a container when none are said: `ctrl-p,ctrl-q`.
pub const USUAL: [u8; 2] = [16, 17];

/// Parses a sequence of keys, separated by commas: characters, or `ctrl-` and one of `a-z@[\]^_`.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(USUAL.to_vec());
    }
    text.split(',').map(key).collect()
}

fn key(word: &str) -> Result<u8> {
    if let [byte] = word.as_bytes() {
        return Ok(*byte);
    }
    let control = word.to_ascii_lowercase();
    match control.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(letter & 0x1f),
        _ => Err(Invalid::new(format!("Unknown character: '{word}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_characters_or_controls() {
        assert_eq!(parse("ctrl-p,ctrl-q").unwrap(), USUAL);
        assert_eq!(parse("").unwrap(), USUAL);
        assert_eq!(parse("a,ctrl-@,ctrl-_,ctrl-C").unwrap(), [b'a', 0, 31, 3]);
        assert_eq!(parse("ctrl-1").unwrap_err().to_string(), "Unknown character: 'ctrl-1'");
        assert_eq!(parse("ab").unwrap_err().to_string(), "Unknown character: 'ab'");
    }
}
