//! What a Dockerfile comes to with these arguments: what each stage begins with, and which stages are needed.

use std::collections::BTreeSet;

use strata_dockerfile::{Dockerfile, Instruction, RunMount, Stage};
use strata_types::{Platform, Reference};

use crate::base::is_id;
use crate::error::{BuildError, Problem};
use crate::meant;
use crate::request::BuildRequest;
use crate::variables::Globals;

/// What FROM names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
    /// A further context, by its name.
    Context(String),
    /// Nothing.
    Scratch,
}

/// A Dockerfile for one platform.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) file: &'a Dockerfile,
    request: &'a BuildRequest,
    /// The arguments that apply everywhere in the file.
    pub(crate) globals: Globals,
    /// What each stage begins with.
    pub(crate) bases: Vec<Source>,
}

impl<'a> Plan<'a> {
    /// Replaces the variables in what stands before and in each FROM; `platforms` are this machine's and the image's.
    pub(crate) fn new(
        file: &'a Dockerfile,
        request: &'a BuildRequest,
        platforms: (&Platform, &Platform),
    ) -> Result<Self, BuildError> {
        let target = request.target.clone().unwrap_or_default();
        let mut globals = Globals::new(&request.arguments, platforms, &target, file.directives.escape);
        for (line, argument) in &file.arguments {
            globals.declare(argument).map_err(|problem| BuildError::at((*line, *line), "ARG", problem))?;
        }
        let bases = file.stages.iter().enumerate().map(|(index, stage)| base(file, &globals, request, (index, stage)));
        let bases = bases.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { file, request, globals, bases })
    }

    /// The stage that was asked for.
    pub(crate) fn target(&self) -> Result<usize, BuildError> {
        let stages = &self.file.stages;
        let Some(name) = self.request.target.as_ref().filter(|name| !name.is_empty()) else {
            return Ok(stages.len() - 1);
        };
        let lower = name.to_lowercase();
        let named = stages.iter().rposition(|stage| stage.name == lower);
        let numbered = || name.parse().ok().filter(|index| *index < stages.len());
        named.or_else(numbered).ok_or_else(|| BuildError {
            hint: meant::target(self, name),
            ..BuildError::outside(Problem::NoTarget(name.to_owned()))
        })
    }

    /// The platform that a stage's FROM asks for; if it does not, the one that was asked for.
    pub(crate) fn platform_of(
        &self,
        index: usize,
        asked: Option<&Platform>,
        native: &Platform,
    ) -> Result<Option<Platform>, Problem> {
        match self.file.stages[index].platform.as_str() {
            "" => Ok(asked.cloned()),
            text => match self.globals.expand(text)? {
                empty if empty.is_empty() => {
                    Err(Problem::Unsupported(format!("empty platform value from expression {text}")))
                }
                platform => Ok(Some(Platform::parse(&platform, native)?)),
            },
        }
    }

    /// The stages that one needs, with itself.
    pub(crate) fn needed(&self, target: usize) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if needed.insert(index) {
                open.extend(self.needs(index));
            }
        }
        needed
    }

    /// Whether a further context stands in place of a stage: then none of its steps is done.
    pub(crate) fn is_replaced(&self, index: usize) -> bool {
        matches!(&self.bases[index], Source::Context(name) if *name == self.file.stages[index].name)
    }

    /// The stages that one needs itself; first what it begins with.
    pub(crate) fn needs(&self, index: usize) -> Vec<usize> {
        let mut needs = Vec::new();
        if self.is_replaced(index) {
            return needs;
        }
        if let Source::Stage(below) = self.bases[index] {
            needs.push(below);
        }
        // What a stage wants done in those that begin with it.
        if let Source::Stage(below) = self.bases[index] {
            let triggers = self.file.stages[below].steps.iter().filter_map(|step| match &step.instruction {
                Instruction::OnBuild(text) => Dockerfile::parse_trigger(text).ok(),
                _ => None,
            });
            triggers.for_each(|step| self.needs_of(&step.instruction, index, &mut needs));
        }
        self.file.stages[index].steps.iter().for_each(|step| self.needs_of(&step.instruction, index, &mut needs));
        needs
    }

    /// Refuses the name of a stage that is not done when `index` needs it.
    pub(crate) fn refuse_later(&self, name: &str, index: usize) -> Result<(), Problem> {
        let lower = name.to_lowercase();
        let stages = &self.file.stages[index..];
        let number = name.parse::<usize>().ok();
        if number.is_some_and(|number| number >= self.file.stages.len()) {
            return Err(Problem::StageIndex(name.to_owned()));
        }
        let numbered = number.and_then(|number| number.checked_sub(index));
        match stages.iter().position(|stage| stage.name == lower).or(numbered) {
            None => Ok(()),
            Some(0) => Err(Problem::Circle(lower)),
            Some(_) => {
                let own = &self.file.stages[index].name;
                let here = if own.is_empty() { format!("stage-{index}") } else { own.clone() };
                Err(Problem::Later { needed: lower, here })
            }
        }
    }

    fn needs_of(&self, instruction: &Instruction, index: usize, needs: &mut Vec<usize>) {
        match instruction {
            Instruction::Copy(copying) => needs.extend(self.stage_named(&copying.from, index)),
            Instruction::Run(run) => {
                let mounts = run.mounts.iter().filter_map(|mount| RunMount::parse(mount).ok());
                needs.extend(mounts.filter_map(|mount| self.stage_named(&mount.from, index)));
            }
            _ => {}
        }
    }

    /// The stage before `before` that a name or number means.
    pub(crate) fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        if name.is_empty() || self.request.context_named(name).is_some() {
            return None;
        }
        let lower = name.to_lowercase();
        let named = self.file.stages[..before].iter().rposition(|stage| stage.name == lower);
        named.or_else(|| name.parse().ok().filter(|index| *index < before))
    }
}

/// What a stage begins with.
fn base(
    file: &Dockerfile,
    globals: &Globals,
    request: &BuildRequest,
    (index, stage): (usize, &Stage),
) -> Result<Source, BuildError> {
    let at = |problem| BuildError::at((stage.line, stage.line), &stage.original, problem);
    if !stage.name.is_empty() && request.context_named(&stage.name).is_some() {
        return Ok(Source::Context(stage.name.clone()));
    }
    let name = globals.expand(&stage.base).map_err(at)?;
    if name.is_empty() {
        return Err(at(Problem::BlankBase(stage.base.clone())));
    }
    let lower = name.to_lowercase();
    let earlier = file.stages[..index].iter().rposition(|other| !other.name.is_empty() && other.name == lower);
    let reference = name.parse::<Reference>();
    Ok(match (earlier, reference) {
        _ if request.context_named(&name).is_some() => Source::Context(name),
        (Some(index), _) => Source::Stage(index),
        (None, _) if name == "scratch" => Source::Scratch,
        (None, Err(source)) if !is_id(&name) => {
            return Err(at(Problem::StageName { name, source, written: stage.base.clone() }));
        }
        (None, _) => Source::Image(name),
    })
}
