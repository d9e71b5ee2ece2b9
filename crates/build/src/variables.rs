//! ARG and ENV: which variables there are, and what they are worth.

use std::collections::BTreeMap;

use strata_dockerfile::{Argument, Expanded, Expander};
use strata_types::Platform;

use crate::error::Problem;

/// Arguments that RUN gets when they are given, declared or not; they are part of no image and of no key.
const PROXIES: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that apply everywhere in the file: platforms, and what stands before the first FROM.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    given: BTreeMap<String, String>,
    standing: BTreeMap<String, String>,
    escape: char,
}

/// What a stage knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Declared arguments in order; those without a value are only declared, or ENV came after them.
    pub(crate) arguments: Vec<(String, Option<String>)>,
}

impl Globals {
    /// Takes what was given, and what is known about the platforms.
    pub(crate) fn new(
        given: &BTreeMap<String, String>,
        platforms: (&Platform, &Platform),
        target: &str,
        escape: char,
    ) -> Self {
        let mut standing = BTreeMap::new();
        for (prefix, platform) in [("BUILD", platforms.0), ("TARGET", platforms.1)] {
            for (name, value) in [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os.clone()),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", platform.variant.clone()),
            ] {
                standing.insert(format!("{prefix}{name}"), value);
            }
        }
        let target = if target.is_empty() { "default" } else { target };
        standing.insert("TARGETSTAGE".to_owned(), target.to_owned());
        for (name, value) in &mut standing {
            if let Some(own) = given.get(name) {
                value.clone_from(own);
            }
        }
        Self { given: given.clone(), standing, escape }
    }

    /// Takes an ARG that stands before the first FROM.
    pub(crate) fn declare(&mut self, argument: &Argument) -> Result<(), Problem> {
        let value = match self.given.get(&argument.name) {
            Some(given) => Some(given.clone()),
            None => argument.default.as_ref().map(|text| self.expand(text)).transpose()?,
        };
        // Declared again without a value, a platform's stays.
        if let Some(value) = value {
            self.standing.insert(argument.name.clone(), value);
        }
        Ok(())
    }

    /// Replaces variables in what FROM says.
    pub(crate) fn expand(&self, text: &str) -> Result<String, Problem> {
        Ok(expand(self.escape, text, &|name| self.standing(name))?.text)
    }

    /// What was given for an argument.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// What applies everywhere: the last value of what stands before the first FROM, and the platforms.
    pub(crate) fn standing(&self, name: &str) -> Option<String> {
        self.standing.get(name).cloned()
    }

    /// The proxies that RUN gets.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = |name: &&'static str| self.given.get(*name).map(|value| (*name, value.as_str()));
        PROXIES.iter().filter_map(given)
    }

    /// What escapes.
    pub(crate) const fn escape(&self) -> char {
        self.escape
    }

    /// Given arguments that nothing declares.
    pub(crate) fn unused<'g>(&'g self, declared: &'g dyn Fn(&str) -> bool) -> impl Iterator<Item = &'g str> {
        let known = |name: &str| {
            PROXIES.contains(&name)
                || self.standing.contains_key(name)
                || name.starts_with("BUILDKIT_")
                || name == "SOURCE_DATE_EPOCH"
        };
        self.given.keys().map(String::as_str).filter(move |name| !known(name) && !declared(name))
    }
}

impl Scope {
    /// Takes an ARG; `default` has its variables replaced already. Gives what it is worth.
    pub(crate) fn declare(&mut self, globals: &Globals, name: &str, default: Option<String>) -> Option<String> {
        let given = globals.given.get(name).cloned();
        let value = given.or(default).or_else(|| globals.standing.get(name).cloned());
        self.arguments.retain(|(known, _)| known != name);
        self.arguments.push((name.to_owned(), value.clone()));
        value
    }

    /// Lets ENV stand for a variable from here on: of ENV and ARG, the later one counts.
    pub(crate) fn hide(&mut self, name: &str) {
        self.arguments.iter_mut().filter(|(known, _)| known == name).for_each(|(_, value)| *value = None);
    }

    /// The value of a variable.
    pub(crate) fn lookup(&self, env: &[String], name: &str) -> Option<String> {
        let argument = self.visible().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
        argument.or_else(|| {
            env.iter().rev().find_map(|entry| match entry.split_once('=') {
                Some((known, value)) if known == name => Some(value.to_owned()),
                _ => None,
            })
        })
    }

    /// The arguments that stand for a variable.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arguments.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    /// What a program sees.
    pub(crate) fn environment(&self, env: &[String]) -> Vec<String> {
        let is_hidden = |entry: &&String| self.visible().any(|(name, _)| entry.split('=').next() == Some(name));
        let arguments = self.visible().map(|(name, value)| format!("{name}={value}"));
        env.iter().filter(|entry| !is_hidden(entry)).cloned().chain(arguments).collect()
    }
}

/// Replaces variables and takes quotes off.
pub(crate) fn expand(escape: char, text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, Problem> {
    Expander::new(escape).expand(text, lookup).map_err(|source| Problem::Expand { text: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(given: &[(&str, &str)]) -> Globals {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let platform = Platform::new("linux", "arm64", "v8");
        Globals::new(&given, (&Platform::new("linux", "amd64", ""), &platform), "", '\\')
    }

    fn argument(text: &str) -> Argument {
        let (name, default) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
        Argument { name: name.to_owned(), default, description: String::new() }
    }

    #[test]
    fn arguments_before_from_see_those_before_them_and_platforms() {
        let mut globals = globals(&[("B", "given")]);
        for text in ["A=1", "B=2", "C=$A-$B-$TARGETARCH-${D:-d}"] {
            globals.declare(&argument(text)).unwrap();
        }
        assert_eq!(globals.expand("img:$C").unwrap(), "img:1-given-arm64-d");
        assert_eq!(globals.expand("$BUILDPLATFORM").unwrap(), "linux/amd64");
    }

    #[test]
    fn a_stage_sees_what_it_declares_and_what_came_last() {
        let mut globals = globals(&[("GIVEN", "g")]);
        globals.declare(&argument("ABOVE=above")).unwrap();
        let mut scope = Scope::default();
        let env = vec!["E=env".to_owned()];
        assert_eq!(scope.lookup(&env, "ABOVE"), None);
        assert_eq!(scope.declare(&globals, "ABOVE", None).as_deref(), Some("above"));
        assert_eq!(scope.declare(&globals, "GIVEN", Some("default".to_owned())).as_deref(), Some("g"));
        assert_eq!(scope.declare(&globals, "E", Some("arg".to_owned())).as_deref(), Some("arg"));
        assert_eq!(scope.declare(&globals, "NOTHING", None), None);
        assert_eq!(scope.lookup(&env, "E").as_deref(), Some("arg"));
        assert_eq!(scope.environment(&env), ["ABOVE=above", "GIVEN=g", "E=arg"]);
        scope.hide("E");
        assert_eq!(scope.lookup(&env, "E").as_deref(), Some("env"));
        assert_eq!(scope.environment(&env), ["E=env", "ABOVE=above", "GIVEN=g"]);
    }
}
