//! Sizes: `512m`, `1.5g`, `64KiB`. Units are binary, as everywhere in Docker's options for memory.

use super::{Invalid, Result};

/// Parses a size into bytes.
pub fn bytes(text: &str) -> Result<u64> {
    let invalid = || Invalid(format!("invalid size: '{text}'"));
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let parts_are_numbers = number.split('.').all(|part| !part.is_empty());
    if !parts_are_numbers {
        return Err(invalid());
    }
    let factor = unit_factor(unit).ok_or_else(invalid)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(invalid);
    }
    let value: f64 =
        number.parse().map_err(|_| Invalid(format!("strconv.ParseFloat: parsing {number:?}: invalid syntax")))?;
    // A fraction of a byte is dropped, and `as` saturates.
    Ok((value * factor as f64) as u64)
}

/// Parses a size that may also be `-1`, which means without limit and is returned as none.
pub fn bytes_or_unlimited(text: &str) -> Result<Option<u64>> {
    if text == "-1" { Ok(None) } else { bytes(text).map(Some) }
}

/// The factor of ` ?[kmgtp]?i?b?`, in any case.
fn unit_factor(unit: &str) -> Option<u64> {
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    Some(match unit {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_and_optional() {
        for (text, expected) in [
            ("0", 0),
            ("42", 42),
            ("6m", 6 << 20),
            ("5mb", 5 << 20),
            ("1 g", 1 << 30),
            ("1.5g", 3 << 29),
            ("64KiB", 65536),
            ("1Pb", 1 << 50),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        assert_eq!(bytes_or_unlimited("-1"), Ok(None));
    }

    #[test]
    fn refusals_are_dockers_words() {
        for text in ["x", "", "-1", "1x", ".5g", "1.", "1  g", "g", "99999999999999p"] {
            assert_eq!(bytes(text).unwrap_err().to_string(), format!("invalid size: '{text}'"));
        }
        let error = bytes("1.5.5g").unwrap_err().to_string();
        assert_eq!(error, r#"strconv.ParseFloat: parsing "1.5.5": invalid syntax"#);
    }
}
