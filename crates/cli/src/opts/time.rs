//! Points in time for `--since`, `--until` and the `until` filter: RFC 3339, Unix seconds, or how long ago.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Invalid, Result, duration};

/// Parses a point in time. `now` is what `10m` counts back from, `zone` that of times without one.
pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let invalid = || Invalid(format!("failed to parse value as time or duration: {text:?}"));
    // Zero alone is the moment from which seconds are counted, as with Docker.
    if let Ok(ago) = duration::parse(text)
        && text != "0"
    {
        let ago = SignedDuration::try_from(ago).map_err(|_| invalid())?;
        return now.checked_sub(ago).map_err(|_| invalid());
    }
    if let Some(timestamp) = unix(text) {
        return Ok(timestamp);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let local = |time: DateTime| time.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| invalid());
    if let Some(date) = text.strip_suffix('Z').and_then(|date| date.parse::<Date>().ok()).filter(|_| text.len() == 11) {
        return date.at(0, 0, 0, 0).to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| invalid());
    }
    // `2013-01-02T15:04` and shorter: jiff wants a whole time.
    let completed = match text.len() {
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    local(completed.parse::<DateTime>().map_err(|_| invalid())?)
}

/// `SECONDS[.NANOSECONDS]` since 1970.
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let now = "2024-03-01T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(parse(text, now, &zone).map(|time| time.to_string()).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn times_have_many_forms() {
        check("10m", "2024-03-01T11:50:00Z");
        check("1h30m", "2024-03-01T10:30:00Z");
        check("0", "1970-01-01T00:00:00Z");
        check("0s", "2024-03-01T12:00:00Z");
        check("1136073600", "2006-01-01T00:00:00Z");
        check("1136073600.000000001", "2006-01-01T00:00:00.000000001Z");
        check("2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z");
        check("2006-01-02T15:04:05.5+02:00", "2006-01-02T13:04:05.5Z");
        check("2006-01-02T15:04:05", "2006-01-02T14:04:05Z");
        check("2006-01-02T15:04", "2006-01-02T14:04:00Z");
        check("2006-01-02", "2006-01-01T23:00:00Z");
        check("2006-01-02Z", "2006-01-02T00:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let error = parse("x", Timestamp::UNIX_EPOCH, &TimeZone::UTC).unwrap_err().to_string();
        assert_eq!(error, r#"failed to parse value as time or duration: "x""#);
    }
}
