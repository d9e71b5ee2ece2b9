//! What `build --check` says: BuildKit's rules that can be told from the text alone.

use std::collections::BTreeSet;

use crate::expand::Expander;
use crate::file::{Dockerfile, Stage};
use crate::instruction::Instruction;
use crate::statement::Statement;
use crate::suggest::nearest;

/// Something that works, and probably not as meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The line, from 1.
    pub line: usize,
    /// The rule's name: `JSONArgsRecommended`.
    pub rule: &'static str,
    /// What was found.
    pub message: String,
    /// Why it is a rule.
    pub reason: &'static str,
}

const REASONS: &[(&str, &str)] = &[
    ("StageNameCasing", "Stage names should be lowercase"),
    ("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
    ("NoEmptyContinuation", "Empty continuation lines will become errors in a future release"),
    (
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    ("DuplicateStageName", "Stage names should be unique"),
    ("ReservedStageName", "Reserved words should not be used as stage names"),
    (
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    ("MaintainerDeprecated", "The MAINTAINER instruction is deprecated, use a label instead to define an image author"),
    ("UndefinedArgInFrom", "FROM command must use declared ARGs"),
    (
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    ),
    ("UndefinedVar", "Variables should be defined before their use"),
    ("MultipleInstructionsDisallowed", "Multiple instructions of the same type should not be used in the same stage"),
    ("LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used"),
    (
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    ("SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"),
    ("InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base image name"),
    ("FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"),
    ("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
    (
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    ),
];

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

/// Variables that a base image usually sets, so that their use is no mistake.
const USUAL_VARIABLES: &[&str] = &["PATH", "HOME", "HOSTNAME", "TERM", "USER", "PWD", "SHELL"];

/// Says what is strange in a Dockerfile, in the order of its lines.
pub fn lint(file: &Dockerfile) -> Vec<Warning> {
    let mut found = Found { file, warnings: Vec::new() };
    for line in &file.empty_continuations {
        found.say(*line, "NoEmptyContinuation", "Empty continuation line".to_owned());
    }
    found.casing();
    found.bases();
    for stage in &file.stages {
        found.once_only(stage);
        found.steps(stage);
    }
    let mut warnings = found.warnings;
    let skipped = skipped(file.directives.check.as_deref().unwrap_or_default());
    warnings.retain(|warning| !skipped.contains(warning.rule) && !skipped.contains("all"));
    warnings.sort();
    warnings
}

/// Whether a variable's name says that its value is secret.
pub fn looks_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower.split('_').collect();
    let denied =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
    let allowed = ["public"];
    words.iter().any(|word| denied.contains(word)) && !words.iter().any(|word| allowed.contains(word))
}

/// `# check=skip=A,B;error=true`.
fn skipped(check: &str) -> BTreeSet<&str> {
    let fields = check.split(';').filter_map(|field| field.trim().strip_prefix("skip="));
    fields.flat_map(|names| names.split(',')).map(str::trim).collect()
}

struct Found<'a> {
    file: &'a Dockerfile,
    warnings: Vec<Warning>,
}

impl Found<'_> {
    fn say(&mut self, line: usize, rule: &'static str, message: String) {
        let reason = REASONS.iter().find(|(name, _)| *name == rule).map_or("", |(_, reason)| reason);
        self.warnings.push(Warning { line, rule, message, reason });
    }

    /// How keywords are written.
    fn casing(&mut self) {
        let file = self.file;
        let lower = |statement: &&Statement| statement.keyword == statement.keyword.to_lowercase();
        let small = file.statements.iter().filter(lower).count();
        let majority_is_small = small * 2 > file.statements.len();
        let majority = if majority_is_small { "lowercase" } else { "uppercase" };
        for statement in &file.statements {
            let word = &statement.keyword;
            let right = if majority_is_small { word.to_lowercase() } else { word.to_uppercase() };
            if *word != right {
                let message = format!("Command '{word}' should match the case of the command majority ({majority})");
                self.say(statement.line, "ConsistentInstructionCasing", message);
            }
            let [_, as_word, name] = &statement.arguments[..] else { continue };
            if !statement.is("FROM") {
                continue;
            }
            if *name != name.to_lowercase() {
                self.say(statement.line, "StageNameCasing", format!("Stage name '{name}' should be lowercase"));
            }
            let small = *word == word.to_lowercase();
            let fitting = if small { as_word.to_lowercase() } else { as_word.to_uppercase() };
            if (small || *word == word.to_uppercase()) && *as_word != fitting {
                let message = format!("'{as_word}' and '{word}' keywords' casing do not match");
                self.say(statement.line, "FromAsCasing", message);
            }
        }
    }

    /// Names of stages and what they begin with.
    fn bases(&mut self) {
        let file = self.file;
        let mut names = BTreeSet::new();
        let declared: BTreeSet<&str> = file.arguments.iter().map(|(_, argument)| &*argument.name).collect();
        let defaults = |name: &str| {
            let found = file.arguments.iter().rev().find(|(_, argument)| argument.name == name);
            found.and_then(|(_, argument)| argument.default.clone())
        };
        let lexer = Expander::new(file.directives.escape);
        for stage in &file.stages {
            if !stage.name.is_empty() && !names.insert(&*stage.name) {
                let message = format!("Duplicate stage name {:?}, stage names should be unique", stage.name);
                self.say(stage.line, "DuplicateStageName", message);
            }
            if matches!(&*stage.name, "scratch" | "context") {
                let message = format!("Stage name should not use the same name as reserved stage {:?}", stage.name);
                self.say(stage.line, "ReservedStageName", message);
            }
            for text in [&stage.base, &stage.platform] {
                let Ok(expanded) = lexer.expand(text, &defaults) else { continue };
                for name in expanded.missing.iter().filter(|name| !declared.contains(&***name)) {
                    if PLATFORM_ARGUMENTS.contains(&&**name) {
                        continue;
                    }
                    let known: Vec<&str> = declared.iter().copied().chain(PLATFORM_ARGUMENTS.iter().copied()).collect();
                    let near = nearest(name, &known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
                    self.say(stage.line, "UndefinedArgInFrom", format!("FROM argument '{name}' is not declared{near}"));
                }
            }
            // A build always knows its platforms.
            let known = |name: &str| {
                let given = || PLATFORM_ARGUMENTS.contains(&name).then(|| name.to_lowercase());
                defaults(name).or_else(given)
            };
            let base = lexer.expand(&stage.base, &known).map(|expanded| expanded.text).unwrap_or_default();
            if stage.base.contains('$') && base.trim_matches([':', '/', '@', '-']) != base {
                let message =
                    format!("Default value for ARG {} results in empty or invalid base image name", stage.base);
                self.say(stage.line, "InvalidDefaultArgInFrom", message);
            }
            match &*stage.platform {
                "" => {}
                text @ ("$TARGETPLATFORM" | "${TARGETPLATFORM}") => {
                    let message = format!(
                        "Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
                    );
                    self.say(stage.line, "RedundantTargetPlatform", message);
                }
                text if !text.contains('$') => {
                    let message = format!("FROM --platform flag should not use constant value {text:?}");
                    self.say(stage.line, "FromPlatformFlagConstDisallowed", message);
                }
                _ => {}
            }
        }
    }

    /// Instructions of which only the last counts.
    fn once_only(&mut self, stage: &Stage) {
        let kind = |instruction: &Instruction| match instruction {
            Instruction::Cmd(_) => Some("CMD"),
            Instruction::Entrypoint(_) => Some("ENTRYPOINT"),
            Instruction::Healthcheck(_) => Some("HEALTHCHECK"),
            _ => None,
        };
        for (index, step) in stage.steps.iter().enumerate() {
            let Some(name) = kind(&step.instruction) else { continue };
            if stage.steps[index + 1..].iter().any(|later| kind(&later.instruction) == Some(name)) {
                let message = format!(
                    "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
                );
                self.say(step.line, "MultipleInstructionsDisallowed", message);
            }
        }
    }

    fn steps(&mut self, stage: &Stage) {
        let mut known: BTreeSet<String> = USUAL_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        // What the base sets is not known from the text; only a stage on nothing is known wholly.
        let knows_base = stage.base == "scratch";
        let (mut workdir_absolute, mut has_shell) = (false, false);
        for step in &stage.steps {
            let line = step.line;
            if knows_base {
                self.undefined(&known, step);
            }
            match &step.instruction {
                Instruction::Maintainer(_) => {
                    let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
                    self.say(line, "MaintainerDeprecated", message);
                }
                Instruction::Shell(_) => has_shell = true,
                Instruction::Cmd(command) | Instruction::Entrypoint(command)
                    if !command.exec && !has_shell && !command.words.is_empty() =>
                {
                    let name = if matches!(step.instruction, Instruction::Cmd(_)) { "CMD" } else { "ENTRYPOINT" };
                    let message = format!(
                        "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
                    );
                    self.say(line, "JSONArgsRecommended", message);
                }
                Instruction::Workdir(path) if path.starts_with(['/', '$']) => workdir_absolute = true,
                Instruction::Workdir(path) if !workdir_absolute => {
                    let message =
                        format!("Relative workdir {path:?} can have unexpected results if the base image changes");
                    self.say(line, "WorkdirRelativePath", message);
                }
                Instruction::Env(pairs) | Instruction::Label(pairs) => {
                    let name = if matches!(step.instruction, Instruction::Env(_)) { "ENV" } else { "LABEL" };
                    if pairs.iter().any(|pair| pair.legacy) {
                        let message = format!(
                            "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
                        );
                        self.say(line, "LegacyKeyValueFormat", message);
                    }
                    if name == "ENV" {
                        pairs.iter().for_each(|pair| self.secret(line, "ENV", &pair.name));
                        known.extend(pairs.iter().map(|pair| pair.name.clone()));
                    }
                }
                Instruction::Arg(arguments) => {
                    arguments.iter().for_each(|argument| self.secret(line, "ARG", &argument.name));
                    known.extend(arguments.iter().map(|argument| argument.name.clone()));
                }
                Instruction::Expose(ports) => ports.iter().for_each(|port| self.port(line, port)),
                _ => {}
            }
        }
    }

    fn secret(&mut self, line: usize, instruction: &str, name: &str) {
        if looks_secret(name) {
            let message = format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
            self.say(line, "SecretsUsedInArgOrEnv", message);
        }
    }

    fn port(&mut self, line: usize, port: &str) {
        let protocol = port.split_once('/').map_or("", |(_, protocol)| protocol);
        if protocol != protocol.to_lowercase() {
            let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
            self.say(line, "ExposeProtoCasing", message);
        }
        if port.contains(':') && !port.contains('$') {
            let message =
                format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
            self.say(line, "ExposeInvalidFormat", message);
        }
    }

    fn undefined(&mut self, known: &BTreeSet<String>, step: &crate::file::Step) {
        let texts: Vec<&String> = match &step.instruction {
            Instruction::Env(pairs) | Instruction::Label(pairs) => pairs.iter().map(|pair| &pair.value).collect(),
            Instruction::Copy(copying) | Instruction::Add(copying) => {
                copying.sources.iter().chain([&copying.target]).collect()
            }
            Instruction::Workdir(text) | Instruction::User(text) | Instruction::StopSignal(text) => vec![text],
            Instruction::Expose(texts) | Instruction::Volume(texts) => texts.iter().collect(),
            _ => return,
        };
        let lexer = Expander::new(self.file.directives.escape);
        let lookup = |name: &str| known.contains(name).then(|| "x".to_owned());
        for text in texts {
            let missing = lexer.expand(text, &lookup).map(|expanded| expanded.missing).unwrap_or_default();
            for name in missing {
                let names: Vec<&str> = known.iter().map(|name| &**name).collect();
                let near = nearest(&name, &names).map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
                self.say(step.line, "UndefinedVar", format!("Usage of undefined variable '${name}'{near}"));
            }
        }
    }
}
