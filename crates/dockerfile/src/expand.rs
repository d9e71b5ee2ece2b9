//! Variables and quotes in words, as Docker's builder reads them: a little shell.

use std::collections::BTreeSet;

use crate::pattern::{Pattern, PatternError};

/// The longest text that an expansion may make. The kernel takes 128 KiB in one variable; files of heredocs may be longer.
pub const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// How deep `${a:-${b:-…}}` may go. People write two.
const DEPTH_MAX: usize = 64;

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote that does not close.
    #[error("unexpected end of statement while looking for matching {0}-quote")]
    Quote(&'static str),
    /// `${x`.
    #[error("syntax error: missing '{0}'")]
    Missing(char),
    /// `${}`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${x=y}`.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    /// `${x?message}`.
    #[error("{0}: {1}")]
    Required(String, String),
    /// A pattern that cannot be read.
    #[error("invalid pattern ({0}) in substitution: {1}")]
    Pattern(String, PatternError),
    /// The result is too long.
    #[error("variables expand to more than {EXPANDED_BYTES_MAX} bytes")]
    TooLong,
    /// Braces in braces in braces.
    #[error("substitutions are nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

/// How words are read.
#[derive(Clone, Copy, Debug)]
pub struct Expander {
    /// What escapes: a backslash or a backtick.
    pub escape: char,
    /// Keeps quotes.
    pub raw_quotes: bool,
    /// Keeps escapes.
    pub raw_escapes: bool,
    /// Takes quotes as ordinary letters.
    pub plain_quotes: bool,
    /// Leaves variables that are not set as they stand.
    pub skip_unset: bool,
}

/// What became of a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The whole, in one piece.
    pub text: String,
    /// Split at blanks that are not quoted.
    pub words: Vec<String>,
    /// Variables that were found.
    pub used: BTreeSet<String>,
    /// Variables that were not.
    pub missing: BTreeSet<String>,
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Expander {
    /// The usual way.
    pub const fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, plain_quotes: false, skip_unset: false }
    }

    /// Replaces variables and takes quotes off.
    ///
    /// # Errors
    /// When quotes or braces do not close, or a variable that must be set is not.
    pub fn expand(&self, text: &str, variables: Lookup<'_>) -> Result<Expanded, ExpandError> {
        let mut reader = Reader {
            lexer: *self,
            chars: text.chars().collect(),
            at: 0,
            depth: 0,
            variables,
            used: BTreeSet::new(),
            missing: BTreeSet::new(),
        };
        let (text, words) = reader.until(None, self.raw_escapes)?;
        if text.len() > EXPANDED_BYTES_MAX {
            return Err(ExpandError::TooLong);
        }
        Ok(Expanded { text, words, used: reader.used, missing: reader.missing })
    }

    /// The words of a text.
    ///
    /// # Errors
    /// As [`Self::expand`].
    pub fn words(&self, text: &str, variables: Lookup<'_>) -> Result<Vec<String>, ExpandError> {
        Ok(self.expand(text, variables)?.words)
    }
}

/// Words that grow letter by letter.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    /// A letter; a blank ends the word.
    fn letter(&mut self, char: char) {
        if !char.is_whitespace() {
            self.word.push(char);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

struct Reader<'a> {
    lexer: Expander,
    chars: Vec<char>,
    at: usize,
    depth: usize,
    variables: Lookup<'a>,
    used: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek();
        self.at += usize::from(char.is_some());
        char
    }

    /// Reads to a letter, which is taken too, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), ExpandError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ExpandError::TooDeep);
        }
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(char) = self.peek() {
            if text.len() > EXPANDED_BYTES_MAX {
                return Err(ExpandError::TooLong);
            }
            if stop == Some(char) {
                self.at += 1;
                self.depth -= 1;
                return Ok((text, words.finish()));
            }
            match char {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|char| words.letter(char));
                    text.push_str(&value);
                }
                '<' | '\'' | '"' if char == '<' || !self.lexer.plain_quotes => {
                    let piece = match char {
                        '<' => self.angle(),
                        '"' => self.double_quoted(raw_escapes)?,
                        _ => self.single_quoted()?,
                    };
                    words.word.push_str(&piece);
                    text.push_str(&piece);
                }
                char if char == self.lexer.escape => {
                    self.at += 1;
                    if raw_escapes {
                        words.word.push(char);
                        text.push(char);
                    }
                    // At the end it escapes nothing.
                    let Some(escaped) = self.next() else { break };
                    words.word.push(escaped);
                    text.push(escaped);
                }
                char => {
                    self.at += 1;
                    words.letter(char);
                    text.push(char);
                }
            }
        }
        self.depth -= 1;
        match stop {
            Some(stop) => Err(ExpandError::Missing(stop)),
            None => Ok((text, words.finish())),
        }
    }

    /// `<`, or `<<` with the blanks behind it, which belong to the word.
    fn angle(&mut self) -> String {
        self.at += 1;
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.at += 1;
        let mut piece = "<<".to_owned();
        while let Some(blank @ ('\t' | '\r' | ' ')) = self.peek() {
            self.at += 1;
            piece.push(blank);
        }
        piece
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        let length = self.chars[self.at..].iter().position(|char| *char == '\'');
        let end = self.at + length.ok_or(ExpandError::Quote("single"))?;
        let inner: String = self.chars[self.at..end].iter().collect();
        self.at = end + 1;
        Ok(if self.lexer.raw_quotes { format!("'{inner}'") } else { inner })
    }

    fn double_quoted(&mut self, raw_escapes: bool) -> Result<String, ExpandError> {
        let mut text = String::new();
        let quote = if self.lexer.raw_quotes { "\"" } else { "" };
        text.push_str(quote);
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(ExpandError::Quote("double")),
                Some('"') => {
                    self.at += 1;
                    text.push_str(quote);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(char) if char == self.lexer.escape => {
                    self.at += 1;
                    if raw_escapes {
                        text.push(char);
                    }
                    // Within double quotes it escapes these only, and stays before all others.
                    match self.peek() {
                        None => {}
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == char => {
                            self.at += 1;
                            text.push(escaped);
                        }
                        Some(_) => text.push(char),
                    }
                }
                Some(char) => {
                    self.at += 1;
                    text.push(char);
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            let value = self.value(&name);
            return Ok(match value {
                None if self.lexer.skip_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.at += 1;
        match self.peek() {
            None => return Err(ExpandError::Missing('}')),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => {
                let value = self.value(&name);
                Ok(match value {
                    None if self.lexer.skip_unset => format!("${{{name}}}"),
                    value => value.unwrap_or_default(),
                })
            }
            Some('/') => self.replacement(&name),
            Some(':') => {
                let modifier = self.next();
                self.modified(&name, modifier, true)
            }
            modifier => self.modified(&name, modifier, false),
        }
    }

    /// `${name-word}` and its kin; with a colon an empty value counts as none.
    fn modified(&mut self, name: &str, modifier: Option<char>, colon: bool) -> Result<String, ExpandError> {
        let shown = format!("{}{}", if colon { ":" } else { "" }, modifier.map(String::from).unwrap_or_default());
        let modifier = match modifier {
            Some(modifier @ ('+' | '-' | '?')) => modifier,
            Some(modifier @ ('#' | '%')) if !colon => modifier,
            None => return Err(ExpandError::Missing('}')),
            _ => return Err(ExpandError::Modifier(shown)),
        };
        let trims = matches!(modifier, '#' | '%');
        let (word, _) = self.until(Some('}'), trims)?;
        let value = self.value(name);
        if self.lexer.skip_unset && value.is_none() {
            return Ok(format!("${{{name}{shown}{word}}}"));
        }
        let present = value.clone().filter(|value| !(colon && value.is_empty()));
        match modifier {
            '-' => Ok(present.unwrap_or(word)),
            '+' => Ok(present.map(|_| word).unwrap_or_default()),
            '?' => present.ok_or_else(|| {
                let why = if value.is_none() { "is not allowed to be unset" } else { "is not allowed to be empty" };
                let message = if word.is_empty() { why.to_owned() } else { word };
                ExpandError::Required(name.to_owned(), message)
            }),
            modifier => {
                let (longest, pattern) = word.strip_prefix(modifier).map_or((false, &*word), |rest| (true, rest));
                let parsed = parse_pattern(pattern)?;
                let value = value.unwrap_or_default();
                Ok(if modifier == '#' {
                    parsed.trim_prefix(&value, longest)
                } else {
                    parsed.trim_suffix(&value, longest)
                })
            }
        }
    }

    /// `${name/pattern/text}`, or with two slashes, all of them.
    fn replacement(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let (pattern, _) = self.until(Some('/'), true)?;
        let (with, _) = self.until(Some('}'), true)?;
        let value = self.value(name);
        if self.lexer.skip_unset && value.is_none() {
            return Ok(format!("${{{name}/{pattern}/{with}}}"));
        }
        let parsed = parse_pattern(&pattern)?;
        let value = value.unwrap_or_default();
        parsed.replace(&value, &with, all).map_err(|why| ExpandError::Pattern(pattern, why))
    }

    /// A name: letters, digits and `_`; or digits alone; or one of the shell's own.
    fn name(&mut self) -> String {
        match self.peek() {
            Some(digit) if digit.is_numeric() => self.take_while(char::is_numeric),
            Some(special @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.at += 1;
                special.to_string()
            }
            _ => self.take_while(|char| char.is_alphanumeric() || char == '_'),
        }
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&fits) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.variables)(name);
        let names = if value.is_some() { &mut self.used } else { &mut self.missing };
        names.insert(name.to_owned());
        value
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, ExpandError> {
    Pattern::parse(text).map_err(|why| ExpandError::Pattern(text.to_owned(), why))
}
