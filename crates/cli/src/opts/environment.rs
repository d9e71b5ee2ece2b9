//! `-e NAME[=VALUE]` and `--env-file`; labels' files have the same form.

use super::{Invalid, Result};

/// One `-e`: a value, or the name of a variable to take over or to unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name: not empty, no `=` in it.
    pub name: String,
    /// The value; none takes the session's, and unsets the image's where the session has none.
    pub value: Option<String>,
}

impl Variable {
    /// `NAME=VALUE` with what the session has for a missing value; none when it has nothing, which unsets the variable.
    pub fn resolved(&self, session: impl Fn(&str) -> Option<String>) -> Option<String> {
        let value = self.value.clone().or_else(|| session(&self.name))?;
        Some(format!("{}={value}", self.name))
    }
}

/// Parses the value of `-e`.
pub fn parse(text: &str) -> Result<Variable> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() {
        return Err(Invalid(format!("invalid environment variable: {text}")));
    }
    Ok(Variable { name: name.to_owned(), value: value.map(str::to_owned) })
}

/// Parses a file of variables, whose name is said in errors. Lines are `NAME=VALUE` or `NAME`; those that begin with `#`
/// and empty ones are passed over; white space before the name goes, all else stays, quotes too.
pub fn parse_file(name: &str, content: &[u8]) -> Result<Vec<Variable>> {
    let mut variables = Vec::new();
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            let bytes: Vec<String> = line.iter().map(ToString::to_string).collect();
            let bytes = bytes.join(" ");
            return Err(Invalid(format!(
                "env file {name} contains invalid utf8 bytes at line {}: [{bytes}]",
                index + 1
            )));
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (variable, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        if variable.contains(char::is_whitespace) {
            let why = format!("variable '{variable}' contains whitespaces");
            return Err(Invalid(format!("poorly formatted environment: {why}")));
        }
        if variable.is_empty() {
            return Err(Invalid(format!("poorly formatted environment: no variable name on line '{line}'")));
        }
        variables.push(Variable { name: variable.to_owned(), value: value.map(str::to_owned) });
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str, value: Option<&str>) -> Variable {
        Variable { name: name.into(), value: value.map(str::to_owned) }
    }

    #[test]
    fn a_variable_without_value_is_the_sessions() {
        let session = |name: &str| (name == "HOME").then(|| String::from("/root"));
        assert_eq!(parse("A=b=c").unwrap().resolved(session).unwrap(), "A=b=c");
        assert_eq!(parse("HOME").unwrap().resolved(session).unwrap(), "HOME=/root");
        assert_eq!(parse("NONE").unwrap().resolved(session), None);
        assert_eq!(parse("=x").unwrap_err().to_string(), "invalid environment variable: =x");
    }

    #[test]
    fn files_keep_values_as_they_are() {
        let content = b"\xef\xbb\xbf# comment\n\n  A= \"x\" \r\nB\nC=\n";
        let expected = [variable("A", Some(" \"x\" ")), variable("B", None), variable("C", Some(""))];
        assert_eq!(parse_file("e", content).unwrap(), expected);
    }

    #[test]
    fn refusals_are_dockers_words() {
        let refused = |content: &[u8]| parse_file("/tmp/e1", content).unwrap_err().to_string();
        assert_eq!(refused(b"A B=c"), "poorly formatted environment: variable 'A B' contains whitespaces");
        assert_eq!(refused(b" A =b"), "poorly formatted environment: variable 'A ' contains whitespaces");
        assert_eq!(refused(b"=c"), "poorly formatted environment: no variable name on line '=c'");
        assert_eq!(refused(b"A=\xff"), "env file /tmp/e1 contains invalid utf8 bytes at line 1: [65 61 255]");
    }
}
