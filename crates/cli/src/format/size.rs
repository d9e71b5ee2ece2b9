//! Sizes for people, digit by digit as go-units prints them.

use super::template::general_with;

/// A size in decimal units with three digits, as `images` shows it: `78.1MB`.
pub fn short(bytes: u64) -> String {
    decimal(bytes, 3)
}

/// A size in decimal units with four digits, as progress and prune show it: `2.746GB`.
pub fn human(bytes: u64) -> String {
    decimal(bytes, 4)
}

/// A size in binary units with four digits, as limits are shown: `7.654GiB`.
pub fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

fn decimal(bytes: u64, digits: usize) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], digits)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", general_with(size, digits), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_go_units() {
        for (bytes, expected) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (78_100_000, "78.1MB"),
            (78_150_000, "78.2MB"),
            (951_234_567, "951MB"),
            (999_900_000, "1e+03MB"),
            (1_350_000_000, "1.35GB"),
            (2_000_000_000_000, "2TB"),
        ] {
            assert_eq!(short(bytes), expected, "{bytes}");
        }
        assert_eq!(human(2_746_000_000), "2.746GB");
        assert_eq!(binary(64 << 20), "64MiB");
        assert_eq!(binary(8_218_000_000), "7.654GiB");
    }
}
