//! What a target can be told: its arguments, secrets and agents, told from the Dockerfile alone.
//!
//! Base images are not looked at: what their variables would make of a default value is not known.

use std::collections::{BTreeMap, BTreeSet};

use strata_dockerfile::{Argument, Dockerfile, Expander, Instruction, MountKind, RunMount, Stage, Step};
use strata_types::Platform;
use strata_types::config::set_variable;

use crate::error::{BuildError, Problem};
use crate::plan::{Plan, Source};
use crate::request::BuildRequest;
use crate::variables::{Scope, expand};

/// The agent that `RUN --mount=type=ssh` means without an id.
const USUAL_AGENT: &str = "default";

/// What a target can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The stage's name; empty if it has none.
    pub name: String,
    /// What the comment above it says.
    pub description: String,
    /// The arguments it and the stages that it needs declare, in the order of their lines.
    pub arguments: Vec<OutlineArgument>,
    /// The secrets that are mounted.
    pub secrets: Vec<OutlineMount>,
    /// The agents.
    pub agents: Vec<OutlineMount>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// What it is worth in this build; empty if nothing.
    pub value: String,
    /// What the comment above it says.
    pub description: String,
    /// The first and the last line that declare it.
    pub lines: (usize, usize),
}

/// A secret or an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub id: String,
    /// The build fails without it.
    pub required: bool,
    /// The first and the last line of the RUN that has it first.
    pub lines: (usize, usize),
}

/// Says what the target of a build can be told; `native` is this machine's platform.
///
/// # Errors
/// When the Dockerfile is none, or has no such target.
pub fn outline(request: &BuildRequest, native: &Platform) -> Result<Outline, BuildError> {
    let file = Dockerfile::parse(&request.dockerfile).map_err(BuildError::outside)?;
    let platform = request.platforms.first().unwrap_or(native);
    let plan = Plan::new(&file, request, (native, platform))?;
    let target = plan.target()?;
    let above = above(&plan)?;
    let mut known: BTreeMap<usize, Known> = BTreeMap::new();
    // What a stage needs stands before it.
    for index in plan.needed(target) {
        let stage = of_stage(&plan, &above, &known, index)?;
        known.insert(index, stage);
    }
    let stage = &file.stages[target];
    let (name, description) = (stage.name.clone(), stage.description.clone());
    let mut outline = Outline { name, description, ..Outline::default() };
    let mut told = Told::default();
    tell(&plan, &known, target, &mut told, &mut outline);
    outline.arguments.sort_by_key(|argument| argument.lines);
    outline.secrets.sort_by_key(|mount| mount.lines);
    outline.agents.sort_by_key(|mount| mount.lines);
    Ok(outline)
}

/// What is known at the end of a stage; the next one on it goes on with it.
#[derive(Clone, Debug, Default)]
struct Known {
    arguments: BTreeMap<String, Declared>,
    /// Those that count for the stage.
    used: BTreeSet<String>,
    secrets: BTreeMap<String, OutlineMount>,
    agents: BTreeMap<String, OutlineMount>,
    scope: Scope,
    env: Vec<String>,
}

/// An argument where it is declared.
#[derive(Clone, Debug)]
struct Declared {
    argument: OutlineArgument,
    /// Other arguments that its value is made of.
    needs: BTreeSet<String>,
}

impl Declared {
    fn new(argument: &Argument, value: Option<String>, lines: (usize, usize)) -> Self {
        let (name, description) = (argument.name.clone(), argument.description.clone());
        let argument = OutlineArgument { name, value: value.unwrap_or_default(), description, lines };
        Self { argument, needs: BTreeSet::new() }
    }
}

/// What was told already, by stages nearer to the target.
#[derive(Debug, Default)]
struct Told {
    arguments: BTreeSet<String>,
    secrets: BTreeSet<String>,
    agents: BTreeSet<String>,
    stages: BTreeSet<usize>,
}

/// The arguments before the first FROM.
fn above(plan: &Plan<'_>) -> Result<BTreeMap<String, Declared>, BuildError> {
    let mut above: BTreeMap<String, Declared> = BTreeMap::new();
    let is_declared = |name: &str| plan.file.arguments.iter().any(|(_, argument)| argument.name == name);
    // What is not declared here and still there is a platform's.
    let platform = |name: &str| plan.globals.standing(name).filter(|_| !is_declared(name));
    let value = |name: &str, above: &BTreeMap<String, Declared>| {
        above.get(name).map(|declared| declared.argument.value.clone()).or_else(|| platform(name))
    };
    for (line, argument) in &plan.file.arguments {
        let last = plan.file.statements.iter().find(|statement| statement.line == *line);
        let lines = (*line, last.map_or(*line, |statement| statement.last_line));
        let mut declared = Declared::new(argument, None, lines);
        let earlier = above.get(&argument.name);
        match (plan.globals.given(&argument.name), &argument.default) {
            (Some(given), _) => declared.argument.value = given.to_owned(),
            (None, Some(text)) => {
                let expanded = expand(plan.globals.escape(), text, &|name| value(name, &above));
                let expanded = expanded.map_err(|problem| BuildError::at(lines, "ARG", problem))?;
                declared.argument.value = expanded.text;
                declared.needs = expanded.used;
                // Made of its own earlier value, it needs what that needed.
                if declared.needs.remove(&argument.name) {
                    declared.needs.extend(earlier.iter().flat_map(|earlier| earlier.needs.clone()));
                }
            }
            (None, None) => {}
        }
        above.insert(argument.name.clone(), declared);
    }
    Ok(above)
}

/// Reads a stage whose base is known.
fn of_stage(
    plan: &Plan<'_>,
    above: &BTreeMap<String, Declared>,
    known: &BTreeMap<usize, Known>,
    index: usize,
) -> Result<Known, BuildError> {
    let stage = &plan.file.stages[index];
    let mut state = match plan.bases[index] {
        Source::Stage(below) => known[&below].clone(),
        _ => Known { arguments: above.clone(), ..Known::default() },
    };
    state.used.extend(used_by_from(plan, stage));
    for step in &stage.steps {
        let at = |problem| BuildError::at((step.line, step.last_line), &step.original, problem);
        state.step(plan, step).map_err(at)?;
    }
    Ok(state)
}

/// The arguments that FROM uses.
fn used_by_from(plan: &Plan<'_>, stage: &Stage) -> BTreeSet<String> {
    let lexer = Expander::new(plan.globals.escape());
    let used = |text: &String| lexer.expand(text, &|name| plan.globals.standing(name)).map(|expanded| expanded.used);
    // What cannot be read was an error before.
    [&stage.base, &stage.platform].into_iter().filter_map(|text| used(text).ok()).flatten().collect()
}

impl Known {
    fn step(&mut self, plan: &Plan<'_>, step: &Step) -> Result<(), Problem> {
        let lines = (step.line, step.last_line);
        let escape = plan.globals.escape();
        match &step.instruction {
            Instruction::Arg(arguments) => {
                for argument in arguments {
                    let lookup = |name: &str| self.scope.lookup(&self.env, name);
                    let default = argument.default.as_ref().map(|text| Ok(expand(escape, text, &lookup)?.text));
                    let default = default.transpose().map_err(|problem: Problem| problem)?;
                    let is_from_above = default.is_none()
                        && plan.globals.given(&argument.name).is_none()
                        && plan.globals.standing(&argument.name).is_some();
                    let value = self.scope.declare(&plan.globals, &argument.name, default);
                    if !is_from_above {
                        self.arguments.insert(argument.name.clone(), Declared::new(argument, value, lines));
                    }
                    self.used.insert(argument.name.clone());
                }
            }
            Instruction::Env(pairs) => {
                for pair in pairs {
                    let lookup = |name: &str| self.scope.lookup(&self.env, name);
                    let (name, value) = (expand(escape, &pair.name, &lookup)?, expand(escape, &pair.value, &lookup)?);
                    set_variable(&mut self.env, &name.text, &value.text);
                    self.scope.hide(&name.text);
                }
            }
            Instruction::Run(run) => {
                for text in &run.mounts {
                    let lexer = Expander { raw_quotes: true, ..Expander::new(escape) };
                    let expanded = lexer.expand(text, &|name| self.scope.lookup(&self.env, name));
                    let expanded = expanded.map_err(|source| Problem::Expand { text: text.clone(), source })?;
                    self.mount(&RunMount::parse(&expanded.text).map_err(Problem::Mount)?, lines);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn mount(&mut self, mount: &RunMount, lines: (usize, usize)) {
        let said = [&mount.source, &mount.id].into_iter().find(|name| !name.is_empty());
        let (mounts, id) = match mount.kind {
            MountKind::Secret => {
                let of_target = || mount.target.rsplit('/').next().unwrap_or_default().to_owned();
                (&mut self.secrets, said.cloned().unwrap_or_else(of_target))
            }
            MountKind::Ssh => (&mut self.agents, said.cloned().unwrap_or_else(|| USUAL_AGENT.to_owned())),
            _ => return,
        };
        mounts.entry(id.clone()).or_insert(OutlineMount { id, required: mount.required, lines });
    }
}

/// Tells of a stage, then of those that it needs; what was told is not told again.
fn tell(plan: &Plan<'_>, known: &BTreeMap<usize, Known>, index: usize, told: &mut Told, outline: &mut Outline) {
    if !told.stages.insert(index) {
        return;
    }
    let stage = &known[&index];
    let (mut open, mut used): (Vec<&String>, BTreeSet<&String>) = (stage.used.iter().collect(), BTreeSet::new());
    while let Some(name) = open.pop() {
        if used.insert(name) {
            open.extend(stage.arguments.get(name).iter().flat_map(|declared| &declared.needs));
        }
    }
    for declared in used.into_iter().filter_map(|name| stage.arguments.get(name)) {
        if told.arguments.insert(declared.argument.name.clone()) {
            outline.arguments.push(declared.argument.clone());
        }
    }
    for (found, told, list) in [
        (&stage.secrets, &mut told.secrets, &mut outline.secrets),
        (&stage.agents, &mut told.agents, &mut outline.agents),
    ] {
        list.extend(found.values().filter(|mount| told.insert(mount.id.clone())).cloned());
    }
    for below in plan.needs(index) {
        tell(plan, known, below, told, outline);
    }
}
