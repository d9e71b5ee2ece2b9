//! Patterns of references, as `--filter reference=…` takes them: Go's `path.Match` on the familiar forms.

use strata_types::reference::Reference;

/// Whether a pattern matches a reference: the whole of it, or its repository.
pub fn matches(pattern: &str, name: &Reference) -> bool {
    let whole = name.familiar();
    let repository = name.familiar_name();
    glob(pattern.as_bytes(), whole.as_bytes()) || glob(pattern.as_bytes(), repository.as_bytes())
}

/// `path.Match`: `*` and `?` do not match `/`, `[a-z]` and `[^a-z]` are classes, `\` escapes.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        b'*' => {
            let stop = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
            (0..=stop).any(|taken| glob(rest, &text[taken..]))
        }
        b'?' => text.split_first().is_some_and(|(byte, text)| *byte != b'/' && glob(rest, text)),
        b'[' => text.split_first().is_some_and(|(byte, text)| {
            class(rest, *byte).is_some_and(|(is_in, rest)| is_in && *byte != b'/' && glob(rest, text))
        }),
        b'\\' if !rest.is_empty() => text.first() == rest.first() && glob(&rest[1..], &text[1..]),
        literal => text.first() == Some(literal) && glob(rest, &text[1..]),
    }
}

/// Whether `byte` is in the class that begins after `[`, and what follows the class; none if the class does not end.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut is_in = false;
    let mut first = true;
    loop {
        let (low, after) = rest.split_first()?;
        if *low == b']' && !first {
            return Some((is_in != negated, after));
        }
        first = false;
        let (high, after) = match after {
            [b'-', high, after @ ..] if *high != b']' => (high, after),
            _ => (low, after),
        };
        is_in |= (*low..=*high).contains(&byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(matches(pattern, &name.parse().unwrap()), expected, "{pattern} {name}");
    }

    #[test]
    fn patterns_match_the_repository_or_the_whole() {
        check("debian", "debian:12", true);
        check("deb*", "debian:12", true);
        check("*:12", "debian:12", true);
        check("*", "a/b:1", false);
        check("*/*", "a/b:1", true);
        check("debia[m-o]:1?", "debian:12", true);
        check("debia[^m-o]", "debian:12", false);
        check("library/debian", "debian:12", false);
        check("[", "debian", false);
    }
}
