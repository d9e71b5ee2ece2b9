//! How Dockerfile instructions are split into words.

use strata_dockerfile::Expander;

use super::{ChangeError, Command};

/// A JSON list of strings, or a line for the shell.
pub(super) fn exec_or_shell(rest: &str) -> Command {
    json_words(rest).map_or_else(|| Command::Shell(rest.to_owned()), Command::Exec)
}

/// The words of a JSON list of strings; none if it is not one.
pub(super) fn json_words(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten()
}

/// The variables that words may name.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a>(pub(super) &'a [String]);

impl Variables<'_> {
    /// Replaces variables, and takes quotes and backslashes away.
    pub(super) fn expand(self, text: &str) -> Result<String, ChangeError> {
        let value = |name: &str| {
            let pair = |entry: &String| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned());
            self.0.iter().rev().find_map(pair)
        };
        let expanded = Expander::new('\\').expand(text, &value);
        Ok(expanded.map_err(|source| ChangeError::Expand { text: text.to_owned(), source })?.text)
    }

    /// The same with each of some words.
    pub(super) fn all(self, words: &[String]) -> Result<Vec<String>, ChangeError> {
        words.iter().map(|word| self.expand(word)).collect()
    }
}

/// `NAME=VALUE …`, or `NAME VALUE` with the value to the end of the line.
pub(super) fn pairs(
    instruction: &'static str,
    rest: &str,
    variables: Variables<'_>,
) -> Result<Vec<(String, String)>, ChangeError> {
    let words = raw_words(rest);
    let first = words.first().ok_or(ChangeError::Argument(instruction))?;
    if !first.contains('=') {
        let (name, value) = rest.split_once(char::is_whitespace).ok_or_else(|| ChangeError::Pair(first.clone()))?;
        return Ok(vec![(name.to_owned(), variables.expand(value.trim())?)]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').ok_or_else(|| ChangeError::Pair(word.clone()))?;
        let name = variables.expand(name)?;
        if name.is_empty() { Err(ChangeError::Blank(instruction)) } else { Ok((name, variables.expand(value)?)) }
    };
    words.iter().map(pair).collect()
}

/// Parses a duration as Go writes it, such as `1m30s` or `500ms`.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| number + at);
        let factor = match &rest[number..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += rest[..number].parse::<f64>().ok()? * factor;
        rest = &rest[unit..];
    }
    // Precise to the nanosecond for 104 days, which no health check reaches.
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the line above")]
    (!text.is_empty() && total < 9e15).then_some(total as i64)
}

/// Splits at blanks outside of quotes and keeps quotes and backslashes.
pub(super) fn raw_words(rest: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', _) if quote != Some('\'') => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
