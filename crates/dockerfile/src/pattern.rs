//! Wildcards in `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`: `*`, `?` and backslashes.
//!
//! Matching follows all positions a pattern can have reached at once, so that no pattern costs more than its length times
//! the text's.

/// Why a pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Only `*`, `?`, `\`, `/` and `}` are escaped.
    #[error("invalid escape '\\{0}'")]
    Escape(String),
    /// Searching would take too long.
    #[error("the value is too long to search in")]
    TooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    One(char),
    Any,
    Many,
}

/// A wildcard pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Vec<Token>);

/// How many steps a search may take: a second or so.
const STEPS_MAX: usize = 400_000_000;

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            tokens.push(match char {
                '*' => Token::Many,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::One(escaped),
                    other => return Err(PatternError::Escape(other.map(String::from).unwrap_or_default())),
                },
                char => Token::One(char),
            });
        }
        Ok(Self(tokens))
    }

    /// Takes the shortest or the longest match off the beginning.
    pub(crate) fn trim_prefix(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let end = self.end(&chars, 0, longest).unwrap_or(0);
        chars[end..].iter().collect()
    }

    /// Takes the shortest or the longest match off the end: the same, seen in a mirror.
    pub(crate) fn trim_suffix(&self, value: &str, longest: bool) -> String {
        let mirrored = Self(self.0.iter().rev().copied().collect());
        let chars: Vec<char> = value.chars().rev().collect();
        let end = mirrored.end(&chars, 0, longest).unwrap_or(0);
        chars[end..].iter().rev().collect()
    }

    /// Replaces the first match, or all; each as long as it can be.
    pub(crate) fn replace(&self, value: &str, with: &str, all: bool) -> Result<String, PatternError> {
        let chars: Vec<char> = value.chars().collect();
        if chars.len().saturating_mul(chars.len()).saturating_mul(self.0.len() + 1) > STEPS_MAX {
            return Err(PatternError::TooLong);
        }
        let mut out = String::new();
        let (mut at, mut last_end) = (0, None);
        while at <= chars.len() {
            let found = self.end(&chars, at, true);
            // An empty match right behind another one is part of that.
            if let Some(end) = found.filter(|end| *end > at || last_end != Some(at)) {
                out.push_str(with);
                last_end = Some(end);
                if !all {
                    out.extend(&chars[end..]);
                    return Ok(out);
                }
                if end > at {
                    at = end;
                    continue;
                }
            }
            out.extend(chars.get(at));
            at += 1;
        }
        Ok(out)
    }

    /// Where a match that begins at `start` ends. Wildcards do not go over the end of a line.
    fn end(&self, chars: &[char], start: usize, longest: bool) -> Option<usize> {
        let mut reached = vec![start];
        for token in &self.0 {
            let fits = |at: &usize| match (token, chars.get(*at)) {
                (Token::One(wanted), Some(char)) => wanted == char,
                (Token::Any | Token::Many, Some(char)) => *char != '\n',
                (_, None) => false,
            };
            reached = match token {
                Token::One(_) | Token::Any => reached.into_iter().filter(fits).map(|at| at + 1).collect(),
                Token::Many => {
                    let mut wider: Vec<usize> = Vec::with_capacity(reached.len());
                    for from in reached {
                        let mut at = wider.last().map_or(from, |last| (*last + 1).max(from));
                        if wider.last().is_none_or(|last| *last < from) {
                            wider.push(from);
                            at = from;
                        } else {
                            at -= 1;
                        }
                        while fits(&at) {
                            at += 1;
                            wider.push(at);
                        }
                    }
                    wider
                }
            };
            if reached.is_empty() {
                return None;
            }
        }
        if longest { reached.last().copied() } else { reached.first().copied() }
    }
}
