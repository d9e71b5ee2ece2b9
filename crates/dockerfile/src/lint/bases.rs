//! Names of stages, and what they begin with.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::Platform;
use strata_types::reference::Reference;

use super::{Found, Place};
use crate::expand::Expander;
use crate::file::Stage;
use crate::suggest::nearest;

/// Arguments that every FROM knows.
const PLATFORM_ARGUMENTS: &[&str] = &[
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
];

impl Found<'_> {
    /// Looks at all stages.
    pub(super) fn bases(&mut self) {
        let file = self.file;
        let mut names = BTreeSet::new();
        let (usual, given) = (self.globals(&BTreeMap::new()), self.globals(self.checked.arguments));
        for stage in &file.stages {
            let place = Place { lines: (stage.line, stage.last_line), comments: &stage.comments };
            if !stage.name.is_empty() && !names.insert(&*stage.name) {
                let message = format!("Duplicate stage name {:?}, stage names should be unique", stage.name);
                self.say(place.plain(), "DuplicateStageName", message);
            }
            if matches!(&*stage.name, "scratch" | "context") {
                let message = format!("Stage name should not use the same name as reserved stage {:?}", stage.name);
                self.say(place.plain(), "ReservedStageName", message);
            }
            self.undeclared(stage, place, &given);
            let expanded = Expander::new(file.directives.escape).expand(&stage.base, &|name| usual.get(name).cloned());
            if expanded.is_ok_and(|expanded| expanded.text.parse::<Reference>().is_err()) {
                let base = &stage.base;
                let message = format!("Default value for ARG {base} results in empty or invalid base image name");
                self.say(place.plain(), "InvalidDefaultArgInFrom", message);
            }
            self.platform(stage, place);
        }
    }

    /// What stands before the first FROM and what is known of platforms, if these arguments are given.
    pub(super) fn globals(&self, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        // A build always knows its platforms; what they are does not count here.
        let platform = |name: &&str| ((*name).to_owned(), name.to_lowercase());
        let mut globals: BTreeMap<String, String> = PLATFORM_ARGUMENTS.iter().map(platform).collect();
        let lexer = Expander::new(self.file.directives.escape);
        for (_, argument) in &self.file.arguments {
            let default = || {
                let expanded = lexer.expand(argument.default.as_ref()?, &|name| globals.get(name).cloned());
                expanded.ok().map(|expanded| expanded.text)
            };
            if let Some(value) = given.get(&argument.name).cloned().or_else(default) {
                globals.insert(argument.name.clone(), value);
            }
        }
        globals
    }

    fn undeclared(&mut self, stage: &Stage, place: Place<'_>, globals: &BTreeMap<String, String>) {
        let file = self.file;
        let declared = file.arguments.iter().map(|(_, argument)| &*argument.name);
        let known: BTreeSet<&str> = declared.chain(PLATFORM_ARGUMENTS.iter().copied()).collect();
        let near: Vec<&str> = known.iter().copied().collect();
        for text in [&stage.base, &stage.platform] {
            let expanded = Expander::new(file.directives.escape).expand(text, &|name| globals.get(name).cloned());
            let missing = expanded.map(|expanded| expanded.missing).unwrap_or_default();
            for name in missing.iter().filter(|name| !known.contains(&***name)) {
                let near = nearest(name, &near).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
                self.say(place, "UndefinedArgInFrom", format!("FROM argument '{name}' is not declared{near}"));
            }
        }
    }

    fn platform(&mut self, stage: &Stage, place: Place<'_>) {
        match &*stage.platform {
            "" => {}
            text @ ("$TARGETPLATFORM" | "${TARGETPLATFORM}") => {
                let message = format!(
                    "Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
                );
                self.say(place, "RedundantTargetPlatform", message);
            }
            text if !text.contains('$') => {
                let Ok(platform) = Platform::parse(text, &Platform::native()) else { return };
                // A stage that is called by its platform is meant for that one.
                let named = [&platform.os, &platform.architecture].map(|word| stage.name.contains(word.as_str()));
                if named == [false, false] {
                    let message = format!("FROM --platform flag should not use constant value {text:?}");
                    self.say(place, "FromPlatformFlagConstDisallowed", message);
                }
            }
            _ => {}
        }
    }
}
