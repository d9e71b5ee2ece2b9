//! Shortened ids and texts, as lists show them on a terminal.

/// Twelve digits of an id, without its algorithm.
pub fn id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// At most `columns` characters, the last of them `…` when something was cut.
pub fn text(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// A command as `ps` shows it: shortened to 20 characters unless whole, in quotes.
pub fn command(command: &str, whole: bool) -> String {
    let shown = if whole { command.to_owned() } else { text(command, 20) };
    super::template::quoted(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_commands_are_cut() {
        assert_eq!(id("sha256:e3b0c44298fc1c149afbf4c8996fb924"), "e3b0c44298fc");
        assert_eq!(id("abc"), "abc");
        assert_eq!(text("12345678901234567890", 20), "12345678901234567890");
        assert_eq!(text("123456789012345678901", 20), "1234567890123456789…");
        assert_eq!(command("sh -c \"echo a\"; true; true", false), r#""sh -c \"echo a\"; tru…""#);
        assert_eq!(command("sh", true), r#""sh""#);
    }
}
