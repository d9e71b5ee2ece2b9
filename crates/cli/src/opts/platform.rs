//! `--platform OS/ARCHITECTURE[/VARIANT],…`.

use strata_types::{Platform, PlatformError};

/// Reads one; an empty word is none.
pub fn platform(word: Option<&str>, native: &Platform) -> Result<Option<Platform>, PlatformError> {
    word.filter(|word| !word.is_empty()).map(|word| Platform::parse(word, native)).transpose()
}

/// Reads all of them, each once; `local` is this machine's, an empty word is none.
pub fn platforms(words: &[String], native: &Platform) -> Result<Vec<Platform>, PlatformError> {
    let mut platforms = Vec::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
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
    fn an_empty_word_is_no_platform() {
        let native = Platform::new("linux", "amd64", "");
        assert_eq!(platform(None, &native), Ok(None));
        assert_eq!(platform(Some(""), &native), Ok(None));
        assert_eq!(platform(Some("linux"), &native), Ok(Some(native.clone())));
    }

    #[test]
    fn platforms_are_read_once_each() {
        let native = Platform::new("linux", "amd64", "");
        let words = ["local", "", "linux/arm64", " amd64"].map(str::to_owned);
        let read: Vec<String> = platforms(&words, &native).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(read, ["linux/amd64", "linux/arm64"]);
        assert!(platforms(&["no such".to_owned()], &native).is_err());
    }
}
