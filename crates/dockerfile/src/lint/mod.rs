//! What `build --check` says: BuildKit's rules.
//!
//! What is seen from how the file is written is told of all of it; what instructions do, of the stages that are looked at.

mod bases;
mod options;
mod rules;
mod steps;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use strata_types::Platform;

use crate::file::Dockerfile;
use crate::ignore::Ignore;
use crate::statement::Statement;

pub use options::CheckError;
use options::Options;
pub use rules::looks_secret;

/// The argument that says which checks count; it goes before the comment at the top that does.
pub const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Something that works, and probably not as meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The first line, from 1.
    pub line: usize,
    /// The last line.
    pub last_line: usize,
    /// The rule's name: `JSONArgsRecommended`.
    pub rule: &'static str,
    /// What was found.
    pub message: String,
    /// Why it is a rule.
    pub reason: &'static str,
}

/// What checks know of the build besides its file.
#[derive(Clone, Copy)]
pub struct Checked<'a> {
    /// The stages whose instructions are looked at; all if none.
    pub stages: Option<&'a BTreeSet<usize>>,
    /// What was given for arguments.
    pub arguments: &'a BTreeMap<String, String>,
    /// What is known of the image that a stage begins with; none if nothing is.
    pub base: &'a dyn Fn(usize) -> Option<KnownBase>,
    /// What is left out of the context.
    pub ignore: Option<&'a Ignore>,
}

/// An image that a stage begins with, as far as it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownBase {
    /// Its variables, as `NAME=value`.
    pub env: Vec<String>,
    /// It says by which shell lines are run.
    pub has_shell: bool,
    /// What it was looked for, and what it is for, if these are different processors or systems.
    pub other_platform: Option<(Platform, Platform)>,
}

impl std::fmt::Debug for Checked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checked").field("stages", &self.stages).finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linted {
    /// In the order of their lines.
    pub warnings: Vec<Warning>,
    /// What keeps the image from being built: a comment says that warnings are errors.
    pub refusal: Option<String>,
}

/// Says what is strange in a Dockerfile.
///
/// # Errors
/// When it says itself what is to be checked, and that is no option.
pub fn lint(file: &Dockerfile, checked: &Checked<'_>) -> Result<Linted, CheckError> {
    let said = checked.arguments.get(CHECK_ARGUMENT).or(file.directives.check.as_ref());
    let options = Options::parse(said.map_or("", String::as_str))?;
    let mut found = Found { file, checked: *checked, options, warnings: Vec::new() };
    found.writing();
    found.bases();
    found.stages();
    Ok(found.finish())
}

/// Says what is strange in how the lines above an error are written, as much as can be read.
pub fn lint_above(text: &str, line: usize) -> Vec<Warning> {
    let above: String = text.split_inclusive('\n').take(line.saturating_sub(1)).collect();
    let Ok(file) = Dockerfile::parse(&above) else { return Vec::new() };
    let Ok(options) = Options::parse(file.directives.check.as_deref().unwrap_or_default()) else { return Vec::new() };
    let (arguments, base) = (BTreeMap::new(), |_| None);
    let checked = Checked { stages: None, arguments: &arguments, base: &base, ignore: None };
    let mut found = Found { file: &file, checked, options, warnings: Vec::new() };
    found.keywords();
    found.finish().warnings
}

struct Found<'a> {
    file: &'a Dockerfile,
    checked: Checked<'a>,
    options: Options,
    warnings: Vec<Warning>,
}

/// Where something was found.
#[derive(Clone, Copy)]
struct Place<'a> {
    lines: (usize, usize),
    /// The comments above it that have a say.
    comments: &'a [String],
}

impl<'a> Place<'a> {
    fn of(statement: &'a Statement) -> Self {
        Self { lines: (statement.line, statement.last_line), comments: &statement.comments }
    }

    /// The same, whatever the comments say.
    const fn plain(self) -> Self {
        Self { comments: &[], ..self }
    }
}

impl Found<'_> {
    fn say(&mut self, place: Place<'_>, rule: &'static str, message: String) {
        if self.options.count(rule, rules::is_experimental(rule), place.comments) {
            let (line, last_line) = place.lines;
            self.warnings.push(Warning { line, last_line, rule, message, reason: rules::reason(rule) });
        }
    }

    fn finish(mut self) -> Linted {
        self.warnings.sort();
        let rules: BTreeSet<&str> = self.warnings.iter().map(|warning| warning.rule).collect();
        let names = rules.into_iter().collect::<Vec<_>>().join(", ");
        let refuses = self.options.error && !names.is_empty();
        let refusal = refuses.then(|| format!("lint violation found for rules: {names}"));
        Linted { warnings: self.warnings, refusal }
    }
}
