//! What a container's tree is made for: `--storage-opt` and `--rm`.

use strata_snapshot::Prepare;

use super::config::HostConfig;
use super::error::ContainerError;
use crate::Result;

/// What the storage driver is asked for.
pub(crate) fn prepare(host: &HostConfig) -> Result<Prepare> {
    let mut prepare = Prepare { volatile: host.auto_remove, size_bytes: None };
    for (name, value) in &host.storage_opt {
        if !name.eq_ignore_ascii_case("size") {
            return Err(ContainerError::invalid(format!("Unknown option {name}")));
        }
        let invalid = || ContainerError::invalid(format!("invalid size: '{value}'"));
        prepare.size_bytes = Some(bytes(value).filter(|bytes| *bytes > 0).ok_or_else(invalid)?);
    }
    Ok(prepare)
}

/// A size in binary units, as all of Docker's but those of logs: `20G`, `512m`, `1.5gb`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start().trim_end_matches('b').trim_end_matches('i');
    let power = if unit.is_empty() { 0 } else { 1 + ["k", "m", "g", "t", "p"].iter().position(|one| *one == unit)? };
    let factor = 1u64 << (10 * power);
    match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor),
        // A fraction of a byte is dropped.
        Err(_) => number.parse::<f64>().ok().map(|number| (number * factor as f64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_other_options_are_refused() {
        let asked = |name: &str, value: &str| {
            let storage_opt = [(name.to_owned(), value.to_owned())].into();
            prepare(&HostConfig { storage_opt, ..HostConfig::default() }).map(|prepare| prepare.size_bytes)
        };
        for (text, bytes) in [("20G", 20 << 30), ("1.5gb", 3 << 29), ("512 MiB", 512 << 20), ("4096", 4096)] {
            assert_eq!(asked("size", text).unwrap(), Some(bytes), "{text}");
        }
        for text in ["", "0", "-1", "big", "1x", "99999999p"] {
            assert_eq!(asked("size", text).unwrap_err().to_string(), format!("invalid size: '{text}'"));
        }
        assert_eq!(asked("sise", "1g").unwrap_err().to_string(), "Unknown option sise");
    }
}
