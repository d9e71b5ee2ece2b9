//! Lines to statements: directives, comments, continuation, heredocs.

use crate::error::{Error, Problem};
use crate::heredoc::Heredoc;
use crate::words;

/// The largest Dockerfile. Generated ones have some hundred kilobytes; BuildKit reads as much.
pub const DOCKERFILE_BYTES_MAX: usize = 2 << 20;
/// The longest line, as BuildKit's scanner has it.
const LINE_BYTES_MAX: usize = 65_535;

/// The directives at the top: `# escape=\``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// What escapes and continues lines.
    pub escape: char,
    /// The frontend that the author asks for.
    pub syntax: Option<String>,
    /// Which checks are to be skipped, and whether they are errors.
    pub check: Option<String>,
}

/// An instruction as it stands, its arguments split but nothing understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// The first word, as written.
    pub keyword: String,
    /// The flags behind it.
    pub flags: Vec<String>,
    /// The arguments, split as this instruction splits them.
    pub arguments: Vec<String>,
    /// Whether they were a JSON list.
    pub json: bool,
    /// The instruction within `ONBUILD`.
    pub inner: Option<Box<Statement>>,
    /// Its heredocs.
    pub heredocs: Vec<Heredoc>,
    /// The line as joined.
    pub original: String,
    /// The first of its lines, from 1.
    pub line: usize,
    /// The last.
    pub last_line: usize,
    /// The comments right above.
    pub comments: Vec<String>,
}

impl Statement {
    /// An error at this statement.
    pub(crate) fn error(&self, problem: impl Into<Problem>) -> Error {
        Error::new(self.line, self.last_line, problem.into())
    }

    /// Whether it is this instruction.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(name)
    }

    /// What a comment right above says of a stage or an argument: `# NAME description`.
    pub(crate) fn description(&self, name: &str) -> String {
        let of_name = |comment: &String| Some(comment.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        let found = self.comments.iter().find_map(of_name);
        found.filter(|_| !name.is_empty()).unwrap_or_default()
    }

    fn takes_heredocs(&self) -> bool {
        let target = match &self.inner {
            Some(inner) if self.is("ONBUILD") => inner,
            _ => self,
        };
        !target.json && ["ADD", "COPY", "RUN"].iter().any(|name| target.is(name))
    }
}

/// A whole file as statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The directives.
    pub directives: Directives,
    /// The statements, in order.
    pub statements: Vec<Statement>,
    /// Lines with an empty line in the middle of an instruction.
    pub empty_continuations: Vec<usize>,
}

/// Reads a Dockerfile's lines.
///
/// # Errors
/// When there is nothing, too much, or a statement cannot be split.
pub fn parse_statements(text: &str) -> Result<Parsed, Error> {
    if text.len() > DOCKERFILE_BYTES_MAX {
        return Err(Error::new(1, 1, Problem::TooLarge(DOCKERFILE_BYTES_MAX)));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        lines: text.split_inclusive('\n').collect(),
        at: 0,
        directives: Directives { escape: '\\', syntax: None, check: None },
        directives_over: false,
        escape_seen: false,
    };
    let (mut statements, mut empty_continuations) = (Vec::new(), Vec::new());
    let mut comments: Vec<String> = Vec::new();
    while let Some(line) = reader.next()? {
        let line = line.trim_start();
        if reader.directive(line)? {
            continue;
        }
        if let Some(comment) = line.strip_prefix('#') {
            match comment.trim() {
                "" => comments.clear(),
                comment => comments.push(comment.to_owned()),
            }
            continue;
        }
        let start = reader.at;
        let (joined, empty) = reader.join(line)?;
        let Some(joined) = joined else { continue };
        if empty {
            empty_continuations.push(reader.at);
        }
        let at = |problem| Error::new(start, reader.at, problem);
        let mut statement = words::statement(&joined, reader.directives.escape).map_err(at)?;
        if statement.takes_heredocs() && joined.contains("<<") {
            let opened = Heredoc::of_line(&joined).map_err(|error| at(error.into()))?;
            for heredoc in opened {
                statement.heredocs.push(reader.heredoc(heredoc, start)?);
            }
        }
        statement.line = start;
        statement.last_line = reader.at;
        statement.comments = std::mem::take(&mut comments);
        statements.push(statement);
    }
    if statements.is_empty() {
        return Err(Error::new(reader.at.max(1), reader.at.max(1), Problem::Empty));
    }
    Ok(Parsed { directives: reader.directives, statements, empty_continuations })
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    /// How many lines were read: the number of the last one.
    at: usize,
    directives: Directives,
    directives_over: bool,
    escape_seen: bool,
}

impl<'a> Reader<'a> {
    /// The next line without its end.
    fn next(&mut self) -> Result<Option<&'a str>, Error> {
        let Some(line) = self.lines.get(self.at) else { return Ok(None) };
        self.at += 1;
        if line.len() > LINE_BYTES_MAX {
            return Err(Error::new(self.at, self.at, Problem::LineTooLong(LINE_BYTES_MAX)));
        }
        Ok(Some(line.trim_end_matches(['\r', '\n'])))
    }

    /// Takes a line as a directive. They stand at the very top; the first other line ends them.
    fn directive(&mut self, line: &str) -> Result<bool, Error> {
        if self.directives_over {
            return Ok(false);
        }
        let Some((key, value)) = directive(line) else {
            self.directives_over = true;
            return Ok(false);
        };
        let fail = |problem| Err(Error::new(self.at, self.at, problem));
        let place = match &*key {
            "escape" if self.escape_seen => return fail(Problem::DirectiveTwice(key)),
            "escape" => {
                self.escape_seen = true;
                let mut chars = value.chars();
                match (chars.next(), chars.next()) {
                    (Some(escape @ ('\\' | '`')), None) => self.directives.escape = escape,
                    _ => return fail(Problem::EscapeToken(value.to_owned())),
                }
                return Ok(true);
            }
            "syntax" => &mut self.directives.syntax,
            _ => &mut self.directives.check,
        };
        if place.is_some() {
            return fail(Problem::DirectiveTwice(key));
        }
        *place = Some(value.to_owned());
        Ok(true)
    }

    /// Joins a line with those that continue it; none if it is empty. Also says whether an empty line was among them.
    fn join(&mut self, first: &str) -> Result<(Option<String>, bool), Error> {
        let escape = self.directives.escape;
        let (piece, mut goes_on) = continued(first, escape);
        if !goes_on && piece.is_empty() {
            return Ok((None, false));
        }
        let (mut joined, mut empty) = (piece.to_owned(), false);
        while goes_on {
            let Some(line) = self.next()? else { break };
            if line.trim_start().starts_with('#') {
                continue;
            }
            if line.trim_start().is_empty() {
                empty = true;
                continue;
            }
            let (piece, more) = continued(line, escape);
            joined.push_str(piece);
            goes_on = more;
        }
        Ok((Some(joined), empty))
    }

    fn heredoc(&mut self, mut heredoc: Heredoc, start: usize) -> Result<Heredoc, Error> {
        loop {
            let raw = self.lines.get(self.at).copied();
            let (Some(raw), Some(line)) = (raw, self.next()?) else {
                return Err(Error::new(start, self.at, Problem::Unterminated(heredoc.name)));
            };
            let line = if heredoc.chomp { line.trim_start_matches('\t') } else { line };
            if line == heredoc.name {
                return Ok(heredoc);
            }
            heredoc.content.push_str(raw);
        }
    }
}

/// `# key = value`, with a key that we know.
fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
    let (key, value) = (key.trim_end().to_ascii_lowercase(), value.trim());
    (matches!(&*key, "syntax" | "escape" | "check") && !value.is_empty()).then_some((key, value))
}

/// The line without the mark that continues it, and whether it had one.
fn continued(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        // Two are an escaped one.
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}
