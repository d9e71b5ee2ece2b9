//! Limits for single block devices: `--device-read-bps /dev/sda:1mb`, `--blkio-weight-device /dev/sda:500`.

use super::{Invalid, Result, size};

/// A block device and how much of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerDevice {
    /// Its path.
    pub path: String,
    /// How much.
    pub value: u64,
}

/// Parses `PATH:RATE` where the rate is bytes.
pub fn bytes(text: &str) -> Result<PerDevice> {
    let invalid = || {
        Invalid(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a \
             positive integer. Unit is optional and can be kb, mb, or gb"
        ))
    };
    let (path, rate) = split(text)?;
    Ok(PerDevice { path, value: size::bytes(rate).map_err(|_| invalid())? })
}

/// Parses `PATH:RATE` where the rate is operations.
pub fn operations(text: &str) -> Result<PerDevice> {
    let invalid = || {
        Invalid(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"
        ))
    };
    let (path, rate) = split(text)?;
    Ok(PerDevice { path, value: rate.parse().map_err(|_| invalid())? })
}

/// Parses `PATH:WEIGHT`.
pub fn weight(text: &str) -> Result<PerDevice> {
    let (path, weight) = split(text)?;
    let value = weight.parse().ok().filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    Ok(PerDevice { path, value: value.ok_or_else(|| Invalid(format!("invalid weight for device: {text}")))? })
}

fn split(text: &str) -> Result<(String, &str)> {
    let (path, rest) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| Invalid(format!("bad format: {text}")))?;
    if !path.starts_with("/dev/") {
        return Err(Invalid(format!("bad format for device path: {text}")));
    }
    Ok((path.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_rate_or_a_weight() {
        let of = |value| PerDevice { path: "/dev/sda".to_owned(), value };
        assert_eq!(bytes("/dev/sda:1mb"), Ok(of(1 << 20)));
        assert_eq!(operations("/dev/sda:50"), Ok(of(50)));
        assert_eq!(weight("/dev/sda:500"), Ok(of(500)));
    }

    #[test]
    fn refusals_are_dockers_words() {
        let told = |parsed: Result<PerDevice>| parsed.unwrap_err().to_string();
        assert_eq!(told(bytes("/dev/sda")), "bad format: /dev/sda");
        assert_eq!(told(bytes("sda:1")), "bad format for device path: sda:1");
        assert!(told(bytes("/dev/sda:x")).starts_with("invalid rate for device: /dev/sda:x. The correct format is"));
        assert!(told(operations("/dev/sda:1k")).ends_with("Number must be a positive integer"));
        assert_eq!(told(weight("/dev/sda:5")), "invalid weight for device: /dev/sda:5");
    }
}
