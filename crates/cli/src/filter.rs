//! `--filter NAME=VALUE`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::exit::{Failure, Result};
use crate::opts::{self, Invalid};
use crate::session::Session;

/// One `--filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What is compared, lower case.
    pub name: String,
    /// With what.
    pub value: String,
}

/// Parses the value of `--filter`; fit for clap's `value_parser`.
pub fn parse(text: &str) -> opts::Result<Filter> {
    let bad = || Invalid::new("bad format of filter (expected name=value)");
    let (name, value) = text.split_once('=').ok_or_else(bad)?;
    Ok(Filter { name: name.trim().to_lowercase(), value: value.trim().to_owned() })
}

/// All filters of one call. Values of one name are alternatives, different names must all fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Gathers filters; refuses names other than the `known` ones.
    pub fn new(filters: &[Filter], known: &[&str]) -> Result<Self> {
        let mut gathered: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for filter in filters {
            if !known.contains(&filter.name.as_str()) {
                let hint = format!("filters are {}", known.join(", "));
                return Err(Failure::new(format!("invalid filter '{}'", filter.name)).hint(hint));
            }
            gathered.entry(filter.name.clone()).or_default().push(filter.value.clone());
        }
        Ok(Self(gathered))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values given for a name.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether one of the values given for a name fits; so too when none was given.
    pub fn fits(&self, name: &str, fits: impl Fn(&str) -> bool) -> bool {
        self.0.get(name).is_none_or(|values| values.iter().any(|value| fits(value)))
    }

    /// A truth, if one was given for a name.
    pub fn truth(&self, name: &str) -> Result<Option<bool>> {
        let values = self.values(name);
        let invalid = || Failure::new(format!("invalid filter '{name}=[{}]'", values.join(" ")));
        let truths: Option<Vec<bool>> = values.iter().map(|value| opts::go_bool(value)).collect();
        match truths.ok_or_else(invalid)?.as_slice() {
            [] => Ok(None),
            [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(Some(*first)),
            _ => Err(invalid()),
        }
    }

    /// Whether labels have every `KEY` and `KEY=VALUE` given for a name (`label`), and none of those for `label!`.
    pub fn fits_labels<'a>(&self, labels: impl Fn(&str) -> Option<&'a str>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels(key) == Some(value),
            None => labels(wanted).is_some(),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }

    /// The point in time given as `until`, if any.
    pub fn until(&self, session: &Session) -> Result<Option<Timestamp>> {
        match self.values("until") {
            [] => Ok(None),
            [text] => Ok(Some(opts::time::parse(text, session.now(), session.zone())?)),
            _ => Err(Failure::new("more than one until filter specified")),
        }
    }
}

/// Whether a name fits as it is, or as a regular expression; an expression that makes no sense fits nothing.
pub fn matches(name: &str, wanted: &str) -> bool {
    wanted == name || regex::Regex::new(wanted).is_ok_and(|expression| expression.is_match(name))
}

/// Whether a name fits a pattern as Go's `path.Match` sees it: `*` and `?` stop at slashes, `[a-z]`, `\` escapes.
pub fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    glob_from(&pattern, &name)
}

/// Refuses what is no such pattern.
pub fn check_glob(pattern: &str) -> Result<()> {
    let mut rest = pattern.chars();
    let mut in_set = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next().is_none() => return Err(Failure::new("syntax error in pattern")),
            '[' => in_set = true,
            ']' => in_set = false,
            _ => {}
        }
    }
    if in_set { Err(Failure::new("syntax error in pattern")) } else { Ok(()) }
}

fn glob_from(pattern: &[char], name: &[char]) -> bool {
    // Where to go on when what follows the last star does not fit.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            None if n == name.len() => return true,
            None => None,
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => name.get(n).and_then(|&c| one(&pattern[p..], c)),
        };
        match (step, star) {
            (Some(width), _) => {
                p += width;
                n += 1;
            }
            (None, Some((at, from))) if from < name.len() && name[from] != '/' => {
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

/// Whether one character fits the beginning of a pattern, and how much of the pattern that was.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => (c != '/').then_some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', rest @ ..] => {
            let (negated, set) = match rest {
                ['^', set @ ..] => (true, set),
                set => (false, set),
            };
            let end = set.iter().position(|&c| c == ']')?;
            let mut fits = false;
            let mut members = &set[..end];
            while let [first, more @ ..] = members {
                members = match more {
                    ['-', last, more @ ..] => {
                        fits |= (first..=last).contains(&&c);
                        more
                    }
                    _ => {
                        fits |= *first == c;
                        more
                    }
                };
            }
            (fits != negated).then_some(end + 2 + usize::from(negated))
        }
        [literal, ..] => (*literal == c).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Filters {
        let parsed: Vec<Filter> = texts.iter().map(|text| parse(text).unwrap()).collect();
        Filters::new(&parsed, &["label", "label!", "dangling", "status"]).unwrap()
    }

    #[test]
    fn values_of_a_name_are_alternatives() {
        let filters = filters(&["Status=created", "status = exited"]);
        assert!(filters.fits("status", |value| value == "exited"));
        assert!(!filters.fits("status", |value| value == "running"));
        assert!(filters.fits("dangling", |_| false));
    }

    #[test]
    fn labels_must_all_fit() {
        let labels = |key: &str| (key == "a").then_some("1");
        assert!(filters(&["label=a", "label=a=1"]).fits_labels(labels));
        assert!(!filters(&["label=a", "label=b"]).fits_labels(labels));
        assert!(!filters(&["label!=a"]).fits_labels(labels));
        assert!(filters(&["label!=b"]).fits_labels(labels));
    }

    #[test]
    fn refusals_are_dockers_words() {
        assert_eq!(parse("x").unwrap_err().to_string(), "bad format of filter (expected name=value)");
        let unknown = Filters::new(&[parse("foo=bar").unwrap()], &["label"]).unwrap_err();
        assert_eq!(unknown.message().unwrap(), "invalid filter 'foo'");
        let truth = filters(&["dangling=x"]).truth("dangling").unwrap_err();
        assert_eq!(truth.message().unwrap(), "invalid filter 'dangling=[x]'");
        assert_eq!(filters(&["dangling=1"]).truth("dangling").unwrap(), Some(true));
    }

    #[test]
    fn globs_stop_at_slashes() {
        for (pattern, name, fits) in [
            ("debian", "debian", true),
            ("deb*", "debian", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("d?bian", "debian", true),
            ("[a-d]ebian", "debian", true),
            ("[^a-c]ebian", "debian", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbc", false),
            ("\\*", "*", true),
            ("", "", true),
            ("[", "[", false),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
        }
    }
}
