//! What instructions do, with the variables that they see.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Place};
use crate::expand::Expander;
use crate::file::{Stage, Step};
use crate::ignore::clean;
use crate::instruction::{Argument, CommandLine, Copying, Instruction, Pair};
use crate::suggest::nearest;

/// Every image has it, whether it says so or not.
const PATH: &str = "PATH";

/// What a stage knows at an instruction; one that begins with it goes on with it.
#[derive(Clone, Debug, Default)]
struct Scope {
    /// Variables and arguments that have a value; none if those of the image are not known.
    env: Option<BTreeMap<String, String>>,
    /// Arguments, with a value or not.
    declared: BTreeSet<String>,
    has_workdir: bool,
    has_shell: bool,
}

/// The instructions of which only the last counts, where they stood last in a stage.
type Last = BTreeMap<&'static str, (usize, usize)>;

impl Found<'_> {
    /// Looks at the instructions of the stages that count.
    pub(super) fn stages(&mut self) {
        let file = self.file;
        let globals = self.globals(self.checked.arguments);
        let mut scopes: Vec<Scope> = Vec::new();
        for (index, stage) in file.stages.iter().enumerate() {
            let counts = self.checked.stages.is_none_or(|stages| stages.contains(&index));
            let mut scope = self.beginning((index, counts), stage, &globals, &scopes);
            if counts {
                let mut last = Last::new();
                stage.steps.iter().for_each(|step| self.step(step, &mut scope, &mut last, &globals));
            }
            scopes.push(scope);
        }
    }

    /// What a stage knows before its first instruction.
    fn beginning(
        &mut self,
        (index, counts): (usize, bool),
        stage: &Stage,
        globals: &BTreeMap<String, String>,
        scopes: &[Scope],
    ) -> Scope {
        let lexer = Expander::new(self.file.directives.escape);
        let base = lexer.expand(&stage.base, &|name| globals.get(name).cloned());
        let name = base.map(|expanded| expanded.text).unwrap_or_default();
        let base = name.to_lowercase();
        let named = |other: &Stage| !other.name.is_empty() && other.name == base;
        if let Some(earlier) = self.file.stages[..index].iter().rposition(named) {
            return scopes[earlier].clone();
        }
        let known = if base == "scratch" { Some(super::KnownBase::default()) } else { (self.checked.base)(index) };
        let Some(known) = known else { return Scope::default() };
        if let Some((expected, actual)) = known.other_platform.filter(|_| counts) {
            let message = format!(
                "Base image {name} was pulled with platform \"{actual}\", expected \"{expected}\" for current build"
            );
            let place = Place { lines: (stage.line, stage.last_line), comments: &[] };
            self.say(place, "InvalidBaseImagePlatform", message);
        }
        let pair = |entry: &String| entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut env: BTreeMap<String, String> = known.env.iter().filter_map(pair).collect();
        env.entry(PATH.to_owned()).or_default();
        Scope { env: Some(env), has_shell: known.has_shell, ..Scope::default() }
    }

    fn step(&mut self, step: &Step, scope: &mut Scope, last: &mut Last, globals: &BTreeMap<String, String>) {
        let place = Place { lines: (step.line, step.last_line), comments: &step.comments };
        self.undefined(&step.instruction, scope, place);
        match &step.instruction {
            Instruction::Shell(_) => scope.has_shell = true,
            Instruction::Cmd(command) => self.command("CMD", command, scope, last, place),
            Instruction::Entrypoint(command) => self.command("ENTRYPOINT", command, scope, last, place),
            Instruction::Healthcheck(_) => self.once("HEALTHCHECK", last, place),
            Instruction::Workdir(path) => self.workdir(path, scope, place),
            Instruction::Env(pairs) => {
                self.pairs("ENV", pairs, place);
                let values: Vec<(String, String)> =
                    pairs.iter().map(|pair| (self.value(&pair.name, scope), self.value(&pair.value, scope))).collect();
                if let Some(env) = &mut scope.env {
                    env.extend(values);
                }
            }
            Instruction::Label(pairs) => self.pairs("LABEL", pairs, place),
            Instruction::Arg(arguments) => {
                arguments.iter().for_each(|argument| self.argument(argument, scope, globals, place));
            }
            Instruction::Expose(ports) => {
                ports.iter().for_each(|port| self.port(&self.value(port, scope), place));
            }
            Instruction::Copy(copying) => self.copy("Copy", copying, scope, place),
            Instruction::Add(copying) => self.copy("Add", copying, scope, place),
            _ => {}
        }
    }

    fn once(&mut self, name: &'static str, last: &mut Last, place: Place<'_>) {
        if let Some(lines) = last.insert(name, place.lines) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            self.say(Place { lines, ..place }, "MultipleInstructionsDisallowed", message);
        }
    }

    fn command(&mut self, name: &'static str, command: &CommandLine, scope: &Scope, last: &mut Last, place: Place<'_>) {
        self.once(name, last, place);
        if !command.exec && !scope.has_shell && !command.words.is_empty() {
            let message =
                format!("JSON arguments recommended for {name} to prevent unintended behavior related to OS signals");
            self.say(place, "JSONArgsRecommended", message);
        }
    }

    fn workdir(&mut self, path: &str, scope: &mut Scope, place: Place<'_>) {
        let is_known = scope.env.is_some() || !path.starts_with('$');
        let path = self.value(path, scope);
        if !scope.has_workdir && is_known && !path.starts_with('/') {
            let message = format!("Relative workdir {path:?} can have unexpected results if the base image changes");
            self.say(place, "WorkdirRelativePath", message);
        }
        scope.has_workdir = true;
    }

    fn pairs(&mut self, name: &str, pairs: &[Pair], place: Place<'_>) {
        for pair in pairs {
            if pair.legacy {
                let message =
                    format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
                self.say(place, "LegacyKeyValueFormat", message);
            }
            if name == "ENV" {
                self.secret(name, &pair.name, place);
            }
        }
    }

    fn secret(&mut self, instruction: &str, name: &str, place: Place<'_>) {
        if super::looks_secret(name) {
            let message = format!("Do not use ARG or ENV instructions for sensitive data ({instruction} {name:?})");
            self.say(place, "SecretsUsedInArgOrEnv", message);
        }
    }

    fn argument(
        &mut self,
        argument: &Argument,
        scope: &mut Scope,
        globals: &BTreeMap<String, String>,
        place: Place<'_>,
    ) {
        self.secret("ARG", &argument.name, place);
        let value = match (self.checked.arguments.get(&argument.name), &argument.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(text)) => {
                self.missing(text, scope, Expander::new(self.file.directives.escape), place);
                Some(self.value(text, scope))
            }
            (None, None) => globals.get(&argument.name).cloned(),
        };
        if let (Some(env), Some(value)) = (&mut scope.env, value) {
            env.insert(argument.name.clone(), value);
        }
        scope.declared.insert(argument.name.clone());
    }

    fn port(&mut self, port: &str, place: Place<'_>) {
        let protocol = port.split_once('/').map_or("", |(_, protocol)| protocol);
        if protocol != protocol.to_lowercase() {
            let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
            self.say(place, "ExposeProtoCasing", message);
        }
        if port.contains(':') {
            let message =
                format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
            self.say(place, "ExposeInvalidFormat", message);
        }
    }

    /// Files of the context that are left out of it.
    fn copy(&mut self, name: &str, copying: &Copying, scope: &Scope, place: Place<'_>) {
        let Some(ignore) = self.checked.ignore.filter(|ignore| !ignore.takes_back()) else { return };
        if !copying.from.is_empty() {
            return;
        }
        for source in &copying.sources {
            let source = self.value(source, scope);
            if name == "Add" && (source.contains("://") || source.starts_with("git@")) {
                continue;
            }
            let path = clean(&source);
            // The context itself is no path that can be left out.
            let is_root = matches!(&*path, "." | "/");
            if if is_root { ignore.leaves_nothing() } else { ignore.ignores(&path) } {
                let message = format!("Attempting to {name} file {path:?} that is excluded by .dockerignore");
                self.say(place, "CopyIgnoredFile", message);
            }
        }
    }

    /// Variables that are not there where an instruction uses them.
    fn undefined(&mut self, instruction: &Instruction, scope: &Scope, place: Place<'_>) {
        let texts: Vec<&String> = match instruction {
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                pairs.iter().flat_map(|pair| [&pair.name, &pair.value]).collect()
            }
            Instruction::Copy(copying) | Instruction::Add(copying) => {
                let flags = [&copying.chown, &copying.chmod, &copying.checksum, &copying.target];
                copying.sources.iter().chain(flags).collect()
            }
            Instruction::Workdir(text) | Instruction::User(text) | Instruction::StopSignal(text) => vec![text],
            Instruction::Expose(texts) | Instruction::Volume(texts) => texts.iter().collect(),
            Instruction::Run(run) => run.mounts.iter().collect(),
            _ => return,
        };
        let lexer = Expander::new(self.file.directives.escape);
        texts.into_iter().for_each(|text| self.missing(text, scope, lexer, place));
        if let Instruction::Copy(copying) | Instruction::Add(copying) = instruction {
            let lexer = Expander { raw_quotes: true, ..Expander::new('\\') };
            let expanded = copying.inline.iter().filter(|inline| inline.expand);
            expanded.for_each(|inline| self.missing(&inline.content, scope, lexer, place));
        }
    }

    fn missing(&mut self, text: &str, scope: &Scope, lexer: Expander, place: Place<'_>) {
        let Some(env) = &scope.env else { return };
        let missing = lexer.expand(text, &|name| env.get(name).cloned()).map(|expanded| expanded.missing);
        for name in missing.unwrap_or_default().iter().filter(|name| !scope.declared.contains(*name)) {
            let names: Vec<&str> = env.keys().map(String::as_str).collect();
            let near = nearest(name, &names).map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
            self.say(place, "UndefinedVar", format!("Usage of undefined variable '${name}'{near}"));
        }
    }

    /// A text with the variables that are known; as it stands if it cannot be read.
    fn value(&self, text: &str, scope: &Scope) -> String {
        let Some(env) = &scope.env else { return text.to_owned() };
        let expanded = Expander::new(self.file.directives.escape).expand(text, &|name| env.get(name).cloned());
        expanded.map_or_else(|_| text.to_owned(), |expanded| expanded.text)
    }
}
