//! `-l KEY[=VALUE]`, and `-o NAME[=VALUE]` of drivers.

use std::convert::Infallible;

use super::{Invalid, Result};

/// Parses a label; its value is empty when none is said.
pub fn parse(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(Invalid(format!("invalid label '{text}': empty name")));
    }
    if key.contains(char::is_whitespace) {
        return Err(Invalid(format!("label '{key}' contains whitespaces")));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses an option of a driver, which says by itself what names it knows.
pub fn option(text: &str) -> std::result::Result<(String, String), Infallible> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        assert_eq!(parse("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(parse("a").unwrap(), ("a".into(), String::new()));
        assert_eq!(parse("=x").unwrap_err().to_string(), "invalid label '=x': empty name");
        assert_eq!(parse("a b=c").unwrap_err().to_string(), "label 'a b' contains whitespaces");
    }
}
