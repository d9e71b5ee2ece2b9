//! Numbers, with Go's words for what is none.

use super::{Invalid, Refusal, Result};

/// Parses a whole number.
pub fn integer(text: &str) -> Result<i64> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why =
            if matches!(error.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
        Invalid(format!("strconv.ParseInt: parsing {text:?}: {why}"))
    })
}

/// Parses the value of `--memory-swappiness`: a share of 100, or -1 for what is usual.
pub fn swappiness(text: &str) -> std::result::Result<i64, Refusal> {
    match integer(text)? {
        share @ -1..=100 => Ok(share),
        other => {
            let range = "Valid memory swappiness range is 0-100";
            Err(Refusal::Alone(Invalid(format!("invalid value: {other}. {range}"))))
        }
    }
}

/// A number of CPUs in billionths, as Docker counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NanoCpus(pub i64);

/// Parses the value of `--cpus`: `1.5`, `.5`, `3/2`.
pub fn cpus(text: &str) -> Result<NanoCpus> {
    let invalid = || Invalid(format!("failed to parse {text} as a rational number"));
    let (above, below) = text.split_once('/').unwrap_or((text, "1"));
    let above = billionths(above).ok_or_else(invalid)?;
    let below: i128 = below.parse().ok().filter(|&below| below > 0).ok_or_else(invalid)?;
    if above % below != 0 {
        return Err(Invalid::new("value is too precise"));
    }
    i64::try_from(above / below).map(NanoCpus).map_err(|_| invalid())
}

/// A decimal number times 10⁹; digits beyond that must be zero.
fn billionths(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) || whole.len() > 18 {
        return None;
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(9));
    if beyond.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: i128 = format!("{kept:0<9}").parse().ok()?;
    Some(sign * (whole * 1_000_000_000 + fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_exact() {
        for (text, expected) in
            [("1.5", 1_500_000_000), (".5", 500_000_000), ("3/2", 1_500_000_000), ("2", 2_000_000_000)]
        {
            assert_eq!(cpus(text), Ok(NanoCpus(expected)), "{text}");
        }
        for text in ["x", "", ".", "1/0", "1.2.3", "1e3"] {
            let sentence = format!("failed to parse {text} as a rational number");
            assert_eq!(cpus(text).unwrap_err().to_string(), sentence);
        }
        assert_eq!(cpus("1/7").unwrap_err().to_string(), "value is too precise");
    }

    #[test]
    fn integers_are_refused_in_gos_words() {
        assert_eq!(integer("-3"), Ok(-3));
        assert_eq!(integer("x").unwrap_err().to_string(), r#"strconv.ParseInt: parsing "x": invalid syntax"#);
        let big = "99999999999999999999";
        let sentence = format!("strconv.ParseInt: parsing {big:?}: value out of range");
        assert_eq!(integer(big).unwrap_err().to_string(), sentence);
    }
}
