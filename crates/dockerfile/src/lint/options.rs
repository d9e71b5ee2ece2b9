//! `# check=skip=A,B;error=true`: which rules count. Above an instruction it counts for that one alone.

use std::collections::BTreeSet;

/// An option that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse check options: {0}")]
pub struct CheckError(String);

/// Some rules, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    all: bool,
    named: BTreeSet<String>,
}

impl Rules {
    fn read(&mut self, text: &str) {
        match text.trim() {
            "all" => self.all = true,
            names => self.named.extend(names.split(',').map(|name| name.trim().to_owned())),
        }
    }

    fn has(&self, rule: &str) -> bool {
        self.all || self.named.contains(rule)
    }
}

/// Which rules count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    skip: Rules,
    experimental: Rules,
    /// Warnings are errors.
    pub(super) error: bool,
}

impl Options {
    /// Reads what a directive says.
    pub(super) fn parse(text: &str) -> Result<Self, CheckError> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for field in text.trim().splitn(3, ';') {
            let invalid = |what: &str| CheckError(format!("invalid check option {what:?}"));
            let (key, value) = field.split_once('=').ok_or_else(|| invalid(field))?;
            match key.trim() {
                "skip" => options.skip.read(value),
                "experimental" => options.experimental.read(value),
                "error" => {
                    options.error = match value.trim() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(CheckError(format!("failed to parse check option {field:?}"))),
                    }
                }
                other => return Err(invalid(other)),
            }
        }
        Ok(options)
    }

    /// Whether a rule counts, also by the comments above an instruction, of which the first that speaks of checks counts.
    pub(super) fn count(&self, rule: &str, is_experimental: bool, comments: &[String]) -> bool {
        let spoken = comments.iter().find_map(|comment| {
            let (key, value) = comment.split_once('=')?;
            key.trim().eq_ignore_ascii_case("check").then(|| value.trim().split(' ').next().unwrap_or_default())
        });
        // What cannot be read there says nothing.
        let here = spoken.and_then(|text| Self::parse(text).ok()).unwrap_or_default();
        let [here, everywhere] = [&here, self];
        match is_experimental {
            true => here.experimental.has(rule) || everywhere.experimental.has(rule),
            false => !here.skip.has(rule) && !everywhere.skip.has(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let check = |text: &str, expected: Result<(bool, bool), &str>| {
            let found = Options::parse(text).map(|options| (options.count("A", false, &[]), options.error));
            assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{text}");
        };
        check("", Ok((true, false)));
        check(" skip = B , A ; error = true", Ok((false, true)));
        check("skip=all", Ok((false, false)));
        check("skip=a", Ok((true, false)));
        check("x", Err("failed to parse check options: invalid check option \"x\""));
        check("skipp=A", Err("failed to parse check options: invalid check option \"skipp\""));
        check("error=yes", Err("failed to parse check options: failed to parse check option \"error=yes\""));
    }
}
