//! How instructions split their arguments.

use crate::error::Problem;
use crate::statement::Statement;

/// Splits a joined line.
pub(crate) fn statement(line: &str, escape: char) -> Result<Statement, Problem> {
    let trimmed = line.trim();
    let (keyword, rest) = trimmed.split_once(is_blank).unwrap_or((trimmed, ""));
    let (flags, rest) = flags(rest.trim_start_matches(is_blank), escape);
    let rest = rest.trim();
    let mut statement =
        Statement { keyword: keyword.to_owned(), flags, original: line.to_owned(), ..Statement::default() };
    match &*keyword.to_ascii_lowercase() {
        "add" | "copy" | "volume" => match json(rest)? {
            Some(list) => (statement.arguments, statement.json) = (list, true),
            None => statement.arguments = blank_separated(rest),
        },
        "cmd" | "entrypoint" | "run" | "shell" => (statement.arguments, statement.json) = maybe_json(rest)?,
        "expose" | "from" => statement.arguments = blank_separated(rest),
        "arg" => statement.arguments = words(rest, escape),
        "env" => statement.arguments = pairs(rest, "ENV", escape)?,
        "label" => statement.arguments = pairs(rest, "LABEL", escape)?,
        "healthcheck" if !rest.is_empty() => {
            let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let (command, json) = maybe_json(command.trim_start())?;
            statement.arguments = [kind.to_owned()].into_iter().chain(command).collect();
            statement.json = json;
        }
        "onbuild" if !rest.is_empty() => {
            // One level is all there is: what is in an ONBUILD in an ONBUILD is refused, not read.
            let inner = if rest.split(is_blank).next().is_some_and(|word| word.eq_ignore_ascii_case("onbuild")) {
                Statement { keyword: "ONBUILD".to_owned(), ..Statement::default() }
            } else {
                self::statement(rest, escape)?
            };
            statement.inner = Some(Box::new(inner));
        }
        "maintainer" | "stopsignal" | "user" | "workdir" if !rest.is_empty() => {
            statement.arguments = vec![rest.to_owned()];
        }
        "maintainer" | "stopsignal" | "user" | "workdir" | "healthcheck" | "onbuild" => {}
        _ => statement.arguments = vec![String::new()],
    }
    Ok(statement)
}

/// What separates words where quotes mean nothing.
fn is_blank(char: char) -> bool {
    matches!(char, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

fn blank_separated(rest: &str) -> Vec<String> {
    if rest.is_empty() {
        return Vec::new();
    }
    rest.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A list of strings, if it is JSON at all.
fn json(rest: &str) -> Result<Option<Vec<String>>, Problem> {
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(rest) else { return Ok(None) };
    let strings = list.into_iter().map(|item| match item {
        serde_json::Value::String(string) => Ok(string),
        _ => Err(Problem::NotStrings),
    });
    strings.collect::<Result<_, _>>().map(Some)
}

fn maybe_json(rest: &str) -> Result<(Vec<String>, bool), Problem> {
    Ok(match json(rest)? {
        Some(list) => (list, true),
        None if rest.is_empty() => (Vec::new(), false),
        None => (vec![rest.to_owned()], false),
    })
}

/// Words with their quotes and escapes, which are taken off when they are expanded.
fn words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = rest.chars().peekable();
    while let Some(char) = chars.next() {
        match quote {
            None if char.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(char, '\'' | '"') => quote = Some(char),
            Some(open) if open == char => quote = None,
            _ => {}
        }
        if char == escape && quote != Some('\'') {
            // At the very end it escapes nothing.
            let Some(escaped) = chars.next() else { break };
            word.push(char);
            word.push(escaped);
            continue;
        }
        word.push(char);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `name=value name=value`, or the old `name all the rest`: three words each, the last being `=` or empty.
fn pairs(rest: &str, instruction: &'static str, escape: char) -> Result<Vec<String>, Problem> {
    let words = words(rest, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let (name, value) = rest.split_once(is_blank).ok_or(Problem::TwoArguments(instruction))?;
        return Ok(vec![name.to_owned(), value.trim_start_matches(is_blank).to_owned(), String::new()]);
    }
    let mut pairs = Vec::new();
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| Problem::NoEquals(word.clone()))?;
        pairs.extend([name.to_owned(), value.to_owned(), "=".to_owned()]);
    }
    Ok(pairs)
}

/// The flags at the beginning, without quotes, and what is behind them.
fn flags(line: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let (mut word, mut quote, mut end, mut blank) = (String::new(), None, rest.len(), false);
        let mut chars = rest.char_indices();
        while let Some((at, char)) = chars.next() {
            match quote {
                None if char.is_whitespace() => {
                    end = at;
                    break;
                }
                None if matches!(char, '\'' | '"') => (quote, blank) = (Some(char), true),
                Some(open) if open == char => quote = None,
                _ if char == escape => word.extend(chars.next().map(|(_, escaped)| escaped)),
                _ => word.push(char),
            }
        }
        rest = &rest[end..];
        if word == "--" {
            return (flags, rest);
        }
        if blank || !word.is_empty() {
            flags.push(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        for (text, expected) in [
            ("foo", vec!["foo"]),
            ("foo bar", vec!["foo", "bar"]),
            (r"foo\ bar", vec![r"foo\ bar"]),
            ("foo bar 'abc xyz'", vec!["foo", "bar", "'abc xyz'"]),
            (r#"foo bar "abc xyz""#, vec!["foo", "bar", r#""abc xyz""#]),
            (r#"föo bàr "âbc xÿz""#, vec!["föo", "bàr", r#""âbc xÿz""#]),
        ] {
            assert_eq!(words(text, '\\'), expected, "{text}");
        }
    }
}
