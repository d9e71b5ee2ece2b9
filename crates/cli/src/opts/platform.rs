//! `--platform OS/ARCHITECTURE[/VARIANT],…`.

use strata_types::{Platform, PlatformError};

/// Reads all of them, each once; `local` is this machine's.
pub fn platforms(words: &[String], native: &Platform) -> Result<Vec<Platform>, PlatformError> {
    let mut platforms = Vec::new();
    for word in words {
        let platform = match word.trim() {
            "local" => native.clone(),
            text => Platform::parse(text, native)?,
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_once_each() {
        let native = Platform::new("linux", "amd64", "");
        let words = ["local", "linux/arm64", " amd64"].map(str::to_owned);
        let read: Vec<String> = platforms(&words, &native).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(read, ["linux/amd64", "linux/arm64"]);
        assert!(platforms(&["no such".to_owned()], &native).is_err());
    }
}
