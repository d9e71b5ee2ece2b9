//! Wildcards in the sources of COPY, as Go's `filepath.Match` reads them.

/// Whether there is anything but letters in it.
pub(super) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Whether one component of a path fits one component of a pattern. A pattern that cannot be read fits nothing.
pub(super) fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    // The last `*`, and how far it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
                continue;
            }
            None if place == name.len() => return true,
            None => None,
            Some(_) => name.get(place).and_then(|char| one(&pattern[at..], *char)),
        };
        match (step, star) {
            (Some(length), _) => (at, place) = (at + length, place + 1),
            (None, Some((from, swallowed))) if swallowed < name.len() => {
                star = Some((from, swallowed + 1));
                (at, place) = (from + 1, swallowed + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How much of the pattern a letter takes, if it fits.
fn one(pattern: &[char], char: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == char).then_some(2),
        ['[', rest @ ..] => class(rest, char).map(|length| length + 1),
        [letter, ..] => (*letter == char).then_some(1),
        [] => None,
    }
}

/// `a-z]`, `^a]`: how long it is, if the letter is in it.
fn class(pattern: &[char], char: char) -> Option<usize> {
    let negated = pattern.first() == Some(&'^');
    let mut at = usize::from(negated);
    let mut found = false;
    let first = at;
    loop {
        match pattern.get(at)? {
            ']' if at > first => break,
            _ => {}
        }
        let (low, next) = letter(pattern, at)?;
        let (high, next) = match pattern.get(next) {
            Some('-') => letter(pattern, next + 1)?,
            _ => (low, next),
        };
        found |= (low..=high).contains(&char);
        at = next;
    }
    (found != negated).then_some(at + 1)
}

fn letter(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        '-' | ']' => None,
        char => Some((*char, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_fit_as_in_go() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(fits(&chars(pattern), &chars(name)), expected, "{pattern} {name}");
        };
        for (pattern, name) in [
            ("abc", "abc"),
            ("*", "abc"),
            ("*c", "abc"),
            ("a*", "abc"),
            ("a*", "a"),
            ("a*b*c*d*e*", "axbxcxdxe"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            ("a?b", "a☺b"),
            ("a\\*b", "a*b"),
            ("[\\]a]", "]"),
            ("[\\-x]", "x"),
            ("arr[[]0].txt", "arr[0].txt"),
        ] {
            check(pattern, name, true);
        }
        for (pattern, name) in [("ab[^c]", "abc"), ("a?b", "ab"), ("[a-", "a"), ("a*", "ba"), ("[-x]", "-"), ("", "a")]
        {
            check(pattern, name, false);
        }
    }
}
