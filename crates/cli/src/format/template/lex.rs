//! Cuts a template into text and tokens.

use super::TemplateError;

/// One token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether white space stands before it.
    pub(super) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `if`, `eq`, `nil`, …
    Word(String),
    /// `.Name`
    Field(String),
    Dot,
    /// `$name`, or `$` alone
    Variable(String),
    Number(String),
    String(String),
    Char(char),
    Pipe,
    Declare,
    Assign,
    Comma,
    ParenOpen,
    ParenClose,
}

/// The error of a template that does not parse at `offset`.
pub(super) fn error(source: &str, offset: usize, what: impl Into<String>) -> TemplateError {
    let before = &source.as_bytes()[..offset.min(source.len())];
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    TemplateError::Parse { name: "", line, what: what.into() }
}

/// Cuts a whole template.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { source, position: 0, tokens: Vec::new() };
    let mut trim_start = false;
    loop {
        let rest = &source[lexer.position..];
        let open = rest.find("{{");
        let mut text = &rest[..open.unwrap_or(rest.len())];
        let trims_end = open.is_some_and(|open| marks_trim(&rest[open + 2..]));
        if trim_start {
            text = text.trim_start_matches(is_space);
        }
        if trims_end {
            text = text.trim_end_matches(is_space);
        }
        let (start, Some(open)) = (lexer.position, open) else {
            lexer.push(Kind::Text(text.to_owned()), lexer.position, source.len(), false);
            return Ok(lexer.tokens);
        };
        lexer.push(Kind::Text(text.to_owned()), start, start + open, false);
        lexer.position = start + open + 2 + if trims_end { 2 } else { 0 };
        trim_start = lexer.action(start + open)?;
    }
}

struct Lexer<'a> {
    source: &'a str,
    position: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind, start: usize, end: usize, spaced: bool) {
        self.tokens.push(Token { kind, start, end, spaced });
    }

    fn rest(&self) -> &str {
        &self.source[self.position..]
    }

    fn fail<T>(&self, what: impl Into<String>) -> Result<T, TemplateError> {
        Err(error(self.source, self.position, what))
    }

    /// Cuts one action or comment; says whether the text after it is trimmed.
    fn action(&mut self, open: usize) -> Result<bool, TemplateError> {
        if self.rest().starts_with("/*") {
            return self.comment();
        }
        self.push(Kind::Open, open, self.position, false);
        loop {
            let before = self.position;
            let spaces = self.rest().len() - self.rest().trim_start_matches(is_space).len();
            self.position += spaces;
            let spaced = spaces > 0;
            let trims = spaced && self.rest().starts_with("-}}");
            if trims || self.rest().starts_with("}}") {
                let end = self.position + if trims { 3 } else { 2 };
                self.push(Kind::Close, self.position, end, spaced);
                self.position = end;
                return Ok(trims);
            }
            if self.rest().is_empty() {
                self.position = before;
                return self.fail("unclosed action");
            }
            let start = self.position;
            let kind = self.token()?;
            self.push(kind, start, self.position, spaced);
        }
    }

    fn comment(&mut self) -> Result<bool, TemplateError> {
        let Some(end) = self.rest().find("*/") else { return self.fail("unclosed comment") };
        self.position += end + 2;
        let trims = marks_trim_end(self.rest());
        let close = if trims { self.rest().find("-}}").map(|at| at + 1) } else { self.rest().find("}}") };
        match close {
            Some(at) if trims || at == 0 => {
                self.position += at + 2;
                Ok(trims)
            }
            _ => self.fail("comment ends before closing delimiter"),
        }
    }

    fn token(&mut self) -> Result<Kind, TemplateError> {
        let rest = self.rest();
        let first = rest.chars().next().unwrap_or_default();
        let second = rest[first.len_utf8()..].chars().next().unwrap_or_default();
        let word = |from: usize| rest[from..].find(|c| !is_word(c)).map_or(rest.len(), |end| from + end);
        let (kind, length) = match first {
            '|' => (Kind::Pipe, 1),
            ',' => (Kind::Comma, 1),
            '(' => (Kind::ParenOpen, 1),
            ')' => (Kind::ParenClose, 1),
            '=' => (Kind::Assign, 1),
            ':' if second == '=' => (Kind::Declare, 2),
            ':' => return self.fail("expected :="),
            '"' => return self.quoted(),
            '`' => match rest[1..].find('`') {
                Some(end) => (Kind::String(rest[1..=end].to_owned()), end + 2),
                None => return self.fail("unterminated raw quoted string"),
            },
            '\'' => return self.character(),
            '$' => (Kind::Variable(rest[..word(1)].to_owned()), word(1)),
            '.' if second.is_ascii_digit() => self.number(),
            '.' if is_word(second) => (Kind::Field(rest[1..word(1)].to_owned()), word(1)),
            '.' => (Kind::Dot, 1),
            '+' | '-' | '0'..='9' => self.number(),
            first if is_word(first) => (Kind::Word(rest[..word(0)].to_owned()), word(0)),
            other => return self.fail(format!("unexpected {:?} in command", other.to_string())),
        };
        let ends_name = matches!(kind, Kind::Word(_) | Kind::Field(_) | Kind::Variable(_));
        if ends_name && !rest[length..].starts_with(|c: char| is_space(c) || ".,|:)=".contains(c)) {
            let next = rest[length..].chars().next();
            if let Some(next) = next.filter(|_| !rest[length..].starts_with("}}")) {
                return self.fail(format!("bad character {}", GoChar(next)));
            }
        }
        self.position += length;
        Ok(kind)
    }

    fn number(&self) -> (Kind, usize) {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['+', '-']));
        let length = rest[sign..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
        let length = length.map_or(rest.len(), |length| sign + length);
        (Kind::Number(rest[..length].to_owned()), length)
    }

    fn quoted(&mut self) -> Result<Kind, TemplateError> {
        let mut text = String::new();
        let mut chars = self.rest()[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.position += at + 2;
                    return Ok(Kind::String(text));
                }
                '\n' => break,
                '\\' => match escape(&mut chars) {
                    Some(c) => text.push(c),
                    None => return self.fail("invalid syntax"),
                },
                c => text.push(c),
            }
        }
        self.fail("unterminated quoted string")
    }

    fn character(&mut self) -> Result<Kind, TemplateError> {
        let mut chars = self.rest()[1..].char_indices();
        let c = match chars.next() {
            Some((_, '\\')) => escape(&mut chars),
            Some((_, c)) if c != '\n' && c != '\'' => Some(c),
            _ => None,
        };
        match (c, chars.next()) {
            (Some(c), Some((at, '\''))) => {
                self.position += at + 2;
                Ok(Kind::Char(c))
            }
            _ => self.fail("unterminated character constant"),
        }
    }
}

/// Reads what follows a backslash.
fn escape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let (_, c) = chars.next()?;
    let hex = |chars: &mut std::str::CharIndices<'_>, digits: usize| {
        let value = (0..digits).try_fold(0, |value, _| Some(value * 16 + chars.next()?.1.to_digit(16)?))?;
        char::from_u32(value)
    };
    Some(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '"' | '\'' => c,
        'x' => return hex(chars, 2),
        'u' => return hex(chars, 4),
        'U' => return hex(chars, 8),
        _ => return None,
    })
}

/// Whether what follows `{{` is `- `.
fn marks_trim(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn marks_trim_end(rest: &str) -> bool {
    rest.starts_with(is_space) && rest.trim_start_matches(is_space).starts_with("-}}")
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// A character as Go's `%#U` shows it: `U+0021 '!'`.
struct GoChar(char);

impl GoChar {
    const fn code(&self) -> u32 {
        self.0 as u32
    }
}

impl std::fmt::Display for GoChar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "U+{:04X} '{}'", self.code(), self.0)
    }
}
