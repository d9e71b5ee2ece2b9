//! The flags of instructions: `--name=value`.

use crate::error::Problem;
use crate::suggest::nearest;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Yes or no.
    Boolean,
    /// One value.
    Text,
    /// A value, and again.
    Texts,
}

/// The flags an instruction was given.
#[derive(Debug, Default)]
pub(crate) struct Flags<'a>(Vec<(&'a str, String)>);

impl<'a> Flags<'a> {
    /// Reads flags; `known` says which there are.
    pub(crate) fn parse(flags: &'a [String], known: &[(&str, Kind)]) -> Result<Self, Problem> {
        let mut read: Vec<(&str, String)> = Vec::new();
        for flag in flags {
            let word = flag.strip_prefix("--").unwrap_or(flag);
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                return Err(Problem::UnknownFlag(name.to_owned(), nearest(name, &names).map(str::to_owned)));
            };
            if *kind != Kind::Texts && read.iter().any(|(seen, _)| *seen == name) {
                return Err(Problem::FlagTwice(name.to_owned()));
            }
            let value = match (kind, value) {
                (Kind::Boolean, None) => "true".to_owned(),
                (Kind::Boolean, Some("")) | (_, None) => return Err(Problem::FlagValue(name.to_owned())),
                (Kind::Boolean, Some(value)) => match &*value.to_ascii_lowercase() {
                    "true" => "true".to_owned(),
                    "false" => "false".to_owned(),
                    _ => return Err(Problem::FlagBoolean(name.to_owned(), value.to_owned())),
                },
                (_, Some(value)) => value.to_owned(),
            };
            read.push((name, value));
        }
        Ok(Self(read))
    }

    /// The value of a flag; empty if it was not given.
    pub(crate) fn text(&self, name: &str) -> String {
        self.texts(name).pop().unwrap_or_default()
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(given, _)| *given == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a flag was given, and as what.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.texts(name).pop().map(|value| value == "true")
    }
}
