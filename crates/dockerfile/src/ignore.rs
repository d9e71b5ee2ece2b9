//! `.dockerignore`: patterns with Docker's rules.
//!
//! A pattern is cleaned as a path. The last one that fits decides; `!` takes back. What fits a directory fits all below it.
//! `*` and `?` stay within one name, `**` does not.

/// Why a pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// Brackets or a backslash that do not close.
    #[error("syntax error in pattern {0:?}")]
    Pattern(String),
    /// `!` alone.
    #[error("illegal exclusion pattern: \"!\"")]
    Exclusion,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    One(char),
    /// `?`.
    Any,
    /// `*`.
    Name,
    /// `**` in the middle: any number of directories, even none.
    Dirs,
    /// `**` at the end.
    Rest,
    /// `**` at the beginning, with nothing but letters behind it: anything.
    Anything,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

#[derive(Clone, Debug)]
struct Pattern {
    tokens: Vec<Token>,
    takes_back: bool,
}

/// The patterns of a `.dockerignore`, or of `--exclude`.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

/// Which patterns fitted a directory: what is in it need not be asked again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(Vec<bool>);

impl Ignore {
    /// Reads a file: comments, blanks and leading slashes are dropped.
    ///
    /// # Errors
    /// When a pattern cannot be read.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')).map(str::trim) {
            let (sign, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
            if line.is_empty() {
                continue;
            }
            let pattern = if pattern.is_empty() { String::new() } else { clean(pattern) };
            let pattern = pattern.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&pattern);
            lines.push(format!("{sign}{pattern}"));
        }
        Self::of_patterns(&lines)
    }

    /// Takes patterns one by one.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn of_patterns<S: AsRef<str>>(patterns: &[S]) -> Result<Self, IgnoreError> {
        let mut read = Vec::new();
        for pattern in patterns.iter().map(|pattern| pattern.as_ref().trim()).filter(|pattern| !pattern.is_empty()) {
            let cleaned = clean(pattern);
            let (takes_back, text) = cleaned.strip_prefix('!').map_or((false, &*cleaned), |rest| (true, rest));
            if text.is_empty() {
                return Err(IgnoreError::Exclusion);
            }
            read.push(Pattern { tokens: tokens(text)?, takes_back });
        }
        Ok(Self { patterns: read })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether some take back what others ignore: then an ignored directory must be looked into.
    pub fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.takes_back)
    }

    /// Whether one of them leaves out all there is.
    pub(crate) fn leaves_nothing(&self) -> bool {
        let is_all = |tokens: &[Token]| {
            matches!(tokens, [Token::Name | Token::Rest | Token::Anything] | [Token::Dirs, Token::Name])
        };
        self.patterns.iter().any(|pattern| !pattern.takes_back && is_all(&pattern.tokens))
    }

    /// Whether a path, or a directory above it, is ignored.
    pub fn ignores(&self, path: &str) -> bool {
        let mut seen = Seen::default();
        let mut ignored = false;
        let ends = path.char_indices().filter(|(_, char)| *char == '/').map(|(at, _)| at);
        for end in ends.filter(|end| *end > 0).chain([path.len()]) {
            (ignored, seen) = self.ignores_in(&path[..end], &seen);
        }
        ignored
    }

    /// Whether a path is ignored, for walks: `above` is what was learnt of its directory.
    pub fn ignores_in(&self, path: &str, above: &Seen) -> (bool, Seen) {
        let mut seen = Vec::with_capacity(self.patterns.len());
        let mut ignored = false;
        for (index, pattern) in self.patterns.iter().enumerate() {
            // Asked even if it could change nothing now: it may below.
            let fits = above.0.get(index).copied().unwrap_or(false) || fits(&pattern.tokens, path);
            seen.push(fits);
            if fits {
                ignored = !pattern.takes_back;
            }
        }
        (ignored, Seen(seen))
    }
}

/// A path without `.`, `..` and doubled slashes, as Go's `filepath.Clean` makes it.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, IgnoreError> {
    let bad = || IgnoreError::Pattern(pattern.to_owned());
    let chars: Vec<char> = pattern.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(char) = chars.get(at) {
        at += 1;
        tokens.push(match char {
            '*' if chars.get(at) == Some(&'*') => {
                at += 1;
                let slash = chars.get(at) == Some(&'/');
                at += usize::from(slash);
                match (at == chars.len(), tokens.is_empty() && !slash) {
                    (true, _) => Token::Rest,
                    // `**file` fits whatever ends so, if nothing else in it is special; see `fits`.
                    (false, true) if is_plain(&chars[at..]) => Token::Anything,
                    (false, _) => Token::Dirs,
                }
            }
            '*' => Token::Name,
            '?' => Token::Any,
            '\\' => {
                at += 1;
                Token::One(*chars.get(at - 1).ok_or_else(bad)?)
            }
            '[' => {
                let (class, end) = class(&chars, at).ok_or_else(bad)?;
                at = end;
                class
            }
            char => Token::One(*char),
        });
    }
    Ok(tokens)
}

fn is_plain(chars: &[char]) -> bool {
    !chars.iter().any(|char| matches!(char, '*' | '?' | '[' | ']' | '\\'))
}

/// `[a-z]` or `[^a-z]`, from behind the bracket; also where it ends.
fn class(chars: &[char], start: usize) -> Option<(Token, usize)> {
    let mut at = start;
    let negated = chars.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut ranges = Vec::new();
    let letter = |at: &mut usize| {
        let mut char = *chars.get(*at)?;
        if matches!(char, '-' | ']') {
            return None;
        }
        if char == '\\' {
            *at += 1;
            char = *chars.get(*at)?;
        }
        *at += 1;
        Some(char)
    };
    while chars.get(at) != Some(&']') || ranges.is_empty() {
        let low = letter(&mut at)?;
        let mut high = low;
        if chars.get(at) == Some(&'-') {
            at += 1;
            high = letter(&mut at)?;
        }
        if high < low {
            return None;
        }
        ranges.push((low, high));
    }
    Some((Token::Class { negated, ranges }, at + 1))
}

/// Whether a whole path fits. All positions that can be reached are followed at once: no pattern is slow.
fn fits(tokens: &[Token], path: &str) -> bool {
    let text: Vec<char> = path.chars().collect();
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        let mut open = false;
        for at in 0..=text.len() {
            let behind = at.checked_sub(1).map(|at| text[at]);
            let from_behind = at > 0 && reached[at - 1];
            next[at] = match token {
                Token::One(char) => from_behind && behind == Some(*char),
                Token::Any => from_behind && behind != Some('/'),
                Token::Class { negated, ranges } => {
                    let within = |char| ranges.iter().any(|(low, high)| (*low..=*high).contains(&char));
                    from_behind && behind.is_some_and(|char| within(char) != *negated)
                }
                Token::Name => {
                    open = reached[at] || (open && behind != Some('/'));
                    open
                }
                Token::Rest | Token::Anything => {
                    open |= reached[at];
                    open
                }
                Token::Dirs => {
                    let here = reached[at] || (open && behind == Some('/'));
                    open |= reached[at];
                    here
                }
            };
        }
        reached = next;
    }
    reached[text.len()]
}
