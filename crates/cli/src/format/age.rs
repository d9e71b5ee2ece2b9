//! Times for people: ages as go-units says them, points in time as Go prints them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// How long something lasted or lasts: `2 weeks`, `About a minute`, `Less than a second`.
pub fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Rounded to the nearest hour, halves up.
    let hours = (seconds + 1800).div_euclid(3600);
    match () {
        () if seconds < 1 => String::from("Less than a second"),
        () if seconds == 1 => String::from("1 second"),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => String::from("About a minute"),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => String::from("About an hour"),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago something was: `2 weeks ago`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", human(now.duration_since(then)))
}

/// A point in time as lists show it: `2024-03-01 13:00:00 +0100 CET`.
pub fn moment(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// A point in time as `history` shows it: `2024-03-01T13:00:00+01:00`.
pub fn moment_rfc3339(time: Timestamp, zone: &TimeZone) -> String {
    let zoned = time.to_zoned(zone.clone());
    if zoned.offset().is_zero() {
        return zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_go_units() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, expected) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (59 * 60 + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn moments_are_gos() {
        let time: Timestamp = "2024-03-01T12:00:00.5Z".parse().unwrap();
        assert_eq!(moment(time, &TimeZone::UTC), "2024-03-01 12:00:00 +0000 UTC");
        assert_eq!(moment_rfc3339(time, &TimeZone::UTC), "2024-03-01T12:00:00Z");
        let east = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(moment_rfc3339(time, &east), "2024-03-01T13:00:00+01:00");
    }
}
