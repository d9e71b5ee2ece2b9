//! Durations as Go writes them: `1h30m`, `1.5s`, `300ms`.

use std::time::Duration;

use super::{Invalid, Result};

/// Parses a duration that is not negative.
pub fn parse(text: &str) -> Result<Duration> {
    let invalid = || Invalid(format!("time: invalid duration {text:?}"));
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanoseconds = 0_u128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(Invalid(format!("time: missing unit in duration {text:?}")));
        }
        let scale = unit_nanoseconds(unit)
            .ok_or_else(|| Invalid(format!("time: unknown unit {unit:?} in duration {text:?}")))?;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = whole.checked_mul(scale).ok_or_else(invalid)? + fraction_of(fraction, scale);
        nanoseconds = nanoseconds.checked_add(part).ok_or_else(invalid)?;
        rest = next;
    }
    // Go's durations are 63 bits of nanoseconds.
    let nanoseconds = i64::try_from(nanoseconds).map_err(|_| invalid())?;
    Ok(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

fn unit_nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `.fraction` of `scale`, rounded down; digits beyond what a nanosecond can show are dropped.
fn fraction_of(fraction: &str, scale: u128) -> u128 {
    let kept = &fraction[..fraction.len().min(18)];
    let digits: u128 = kept.bytes().fold(0, |value, digit| value * 10 + u128::from(digit - b'0'));
    let places = u32::try_from(kept.len()).unwrap_or(18);
    digits * scale / 10_u128.pow(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_durations_parse() {
        for (text, ms) in
            [("0", 0), ("10s", 10_000), ("1h30m", 5_400_000), ("1.5s", 1500), ("300ms", 300), (".5m", 30_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("1us"), Ok(Duration::from_micros(1)));
    }

    #[test]
    fn refusals_are_gos_words() {
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(refused("x"), r#"time: invalid duration "x""#);
        assert_eq!(refused(""), r#"time: invalid duration """#);
        assert_eq!(refused("-1s"), r#"time: invalid duration "-1s""#);
        assert_eq!(refused("10"), r#"time: missing unit in duration "10""#);
        assert_eq!(refused("3d"), r#"time: unknown unit "d" in duration "3d""#);
        assert_eq!(refused("9999999999h"), r#"time: invalid duration "9999999999h""#);
    }
}
