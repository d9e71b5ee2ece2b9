//! A stage, instruction by instruction.

mod copy;
mod hide;
mod mounts;
mod run;
mod sources;
mod workdir;

use std::time::Instant;

use jiff::Timestamp;
use strata_dockerfile::{Argument, Copying, Dockerfile, Expander, Instruction, RunMount, Stage, Step};
use strata_engine::workbench::{Layer, Memory};
use strata_types::config::RunConfig;

use crate::base::{Base, refuse_windows};
use crate::error::{BuildError, Problem};
use crate::graph::Build;
use crate::history;
use crate::key::Key;
use crate::meant;
use crate::metadata::{self, Commands};
use crate::plan::Source;
use crate::request::{NamedContext, Outcome};
use crate::under_way::Turn;
use crate::variables::{Scope, expand};

/// A stage that is done, or as far as it is.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// Its layers and config.
    pub(crate) base: Base,
    /// The arguments that stages on top of it inherit.
    pub(crate) scope: Scope,
}

/// A stage in the making.
pub(crate) struct StageRun<'b> {
    build: &'b Build<'b>,
    stage: &'b Stage,
    index: usize,
    state: Finished,
    commands: Commands,
    /// How many of its steps have begun, and how many there are.
    place: (usize, usize),
    no_cache: bool,
}

/// What a step reads, in short or by its content: the first key that is known will do.
type KeyOf<'k> = &'k dyn Fn() -> Result<Key, Problem>;

/// Does a step, which has a number, and gives the layer it adds.
type Work<'w> = &'w dyn Fn(usize) -> Result<Option<Layer>, Problem>;

impl<'b> StageRun<'b> {
    /// Begins with what FROM names.
    pub(crate) fn begin(build: &'b Build<'b>, index: usize) -> Result<Self, BuildError> {
        let stage = &build.plan.file.stages[index];
        let at = |problem| BuildError::at((stage.line, stage.line), &stage.original, problem);
        let counted = stage.steps.iter().filter(|step| is_counted(&step.instruction)).count();
        let place = (1, counted + 1);
        let state = match &build.plan.bases[index] {
            Source::Stage(below) => (*build.result(*below).map_err(at)?).clone(),
            Source::Scratch => {
                let platform = build.platform_of(index).map_err(at)?.unwrap_or_else(|| build.platform.clone());
                refuse_windows(&platform).map_err(at)?;
                Finished { base: Base::scratch(&platform), scope: Scope::default() }
            }
            source @ (Source::Image(name) | Source::Context(name)) => {
                let platform = build.platform_of(index).map_err(at)?;
                let step = format!("{} FROM {name}", build.prefix(index, place));
                let context = build.request.context_named(name).filter(|_| matches!(source, Source::Context(_)));
                let base = match context {
                    Some(context) => build.context(name, context, platform.as_ref(), &step),
                    None => build.image(name, platform.as_ref(), &step).map(Some),
                };
                let nothing = || Base::scratch(platform.as_ref().unwrap_or(&build.platform));
                let base = base.map_err(|problem| {
                    let meant = meant::stage(&build.plan, name, index);
                    let error = at(problem);
                    BuildError { hint: error.hint.clone().or(meant), ..error }
                });
                let base = base?.map_or_else(nothing, |base| (*base).clone());
                Finished { base, scope: Scope::default() }
            }
        };
        let names = [stage.name.clone(), index.to_string()];
        let filter = &build.request.no_cache_filter;
        let no_cache = build.request.no_cache || filter.iter().any(|name| names.contains(&name.to_lowercase()));
        let mut run = Self { build, stage, index, state, commands: Commands::default(), place, no_cache };
        run.files_of_context().map_err(at)?;
        if !build.plan.is_replaced(index) {
            run.triggers()?;
        }
        Ok(run)
    }

    /// Takes all files of a further context that FROM names.
    fn files_of_context(&mut self) -> Result<(), Problem> {
        let Source::Context(name) = &self.build.plan.bases[self.index] else { return Ok(()) };
        if !matches!(self.build.request.context_named(name), Some(NamedContext::Files(_))) {
            return Ok(());
        }
        let all = Copying { sources: vec![".".to_owned()], target: "/".to_owned(), ..Copying::default() };
        self.place.1 += 1;
        self.copy(&format!("FROM {name}"), &Copying { from: name.clone(), ..all }, "COPY")
    }

    /// Does what the base image wants done in every image made of it; a stage is such an image for those that begin with it.
    fn triggers(&mut self) -> Result<(), BuildError> {
        for text in std::mem::take(&mut self.state.base.config.config.on_build) {
            let line = self.stage.line;
            let step = Dockerfile::parse_trigger(&text).map_err(BuildError::outside)?;
            if is_counted(&step.instruction) {
                self.place.1 += 1;
            }
            self.step(&Step { line, last_line: line, ..step })?;
        }
        Ok(())
    }

    /// Does all its steps.
    pub(crate) fn finish(mut self) -> Result<Finished, BuildError> {
        if self.build.plan.is_replaced(self.index) {
            return Ok(self.state);
        }
        for step in &self.stage.steps {
            self.step(step)?;
        }
        Ok(self.state)
    }

    fn step(&mut self, step: &Step) -> Result<(), BuildError> {
        let done = match &step.instruction {
            _ if self.build.is_over() => Err(Problem::Engine(strata_engine::Error::Cancelled)),
            Instruction::Arg(arguments) => self.arg(arguments),
            Instruction::Run(run) => self.run(&step.original, run),
            Instruction::Copy(copying) => self.copy(&step.original, copying, "COPY"),
            Instruction::Add(copying) => self.copy(&step.original, copying, "ADD"),
            Instruction::Workdir(path) => self.workdir(path),
            other => self.metadata(other),
        };
        done.map_err(|problem| {
            let meant = match &problem {
                Problem::Engine(error) => self.meant(&step.instruction, &error.to_string()),
                _ => None,
            };
            let error = BuildError::at((step.line, step.last_line), &step.original, problem);
            BuildError { hint: error.hint.clone().or(meant), ..error }
        })
    }

    /// What was probably meant by a name that is no image either, or by a line for a shell that is not there.
    fn meant(&self, instruction: &Instruction, said: &str) -> Option<String> {
        let plan = &self.build.plan;
        match instruction {
            // What the runtime says of a missing program comes from another process, as words.
            Instruction::Run(_) if said.starts_with("exec: \"/bin/sh\": stat") => {
                Some("the stage has no shell: RUN [\"program\", \"argument\"] does without".to_owned())
            }
            Instruction::Copy(copying) if !copying.from.is_empty() => meant::stage(plan, &copying.from, self.index),
            Instruction::Run(run) => {
                let mounts = run.mounts.iter().filter_map(|mount| RunMount::parse(mount).ok());
                let mut names = mounts.map(|mount| mount.from).filter(|from| !from.is_empty());
                names.find_map(|name| meant::stage(plan, &name, self.index))
            }
            _ => None,
        }
    }

    fn config(&self) -> &RunConfig {
        &self.state.base.config.config
    }

    fn expand(&self, text: &str) -> Result<String, Problem> {
        let lookup = |name: &str| self.state.scope.lookup(&self.config().env, name);
        Ok(expand(self.build.plan.globals.escape(), text, &lookup)?.text)
    }

    /// Replaces variables in the content of a file: quotes in it are its own.
    fn expand_text(&self, text: &str) -> Result<String, Problem> {
        let lookup = |name: &str| self.state.scope.lookup(&self.config().env, name);
        let lexer =
            Expander { raw_quotes: true, plain_quotes: true, ..Expander::new(self.build.plan.globals.escape()) };
        let expanded = lexer.expand(text, &lookup);
        Ok(expanded.map_err(|source| Problem::Expand { text: text.to_owned(), source })?.text)
    }

    /// Says in the history what was done.
    fn tell(&mut self, created_by: String, layer: Option<Timestamp>) {
        let created = layer.map(|created| self.build.epoch_or(created).to_string());
        self.state.base.config.history.push(history::step(created_by, created.as_deref()));
    }

    fn metadata(&mut self, instruction: &Instruction) -> Result<(), Problem> {
        let set = match instruction {
            Instruction::Env(pairs) => {
                pairs.iter().map(|pair| self.expand(&pair.name)).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        let (scope, escape) = (&self.state.scope, self.build.plan.globals.escape());
        let config = &mut self.state.base.config;
        let env = config.config.env.clone();
        let replace = |text: &str| Ok(expand(escape, text, &|name| scope.lookup(&env, name))?.text);
        if let Instruction::Maintainer(name) = instruction {
            config.author.clone_from(name);
        }
        if let Some(text) = metadata::apply(instruction, &mut config.config, &mut self.commands, &replace)? {
            self.tell(text, None);
        }
        set.iter().for_each(|name| self.state.scope.hide(name));
        Ok(())
    }

    fn arg(&mut self, arguments: &[Argument]) -> Result<(), Problem> {
        let mut text = "ARG".to_owned();
        for argument in arguments {
            let default = argument.default.as_ref().map(|text| self.expand(text)).transpose()?;
            text.push_str(&format!(" {}", argument.name));
            if let Some(value) = self.state.scope.declare(&self.build.plan.globals, &argument.name, default) {
                text.push_str(&format!("={value}"));
            }
        }
        self.tell(text, None);
        Ok(())
    }

    /// Does a step that may change files, or finds that it was done; says when, if there is a layer of it.
    fn change(&mut self, what: &str, keys: &[KeyOf<'_>], work: Work<'_>) -> Result<Option<Timestamp>, Problem> {
        self.place.0 += 1;
        let name = format!("{} {what}", self.build.prefix(self.index, self.place));
        let number = self.build.number();
        // Others may still be at theirs: that is not time that this one takes.
        let permit = self.build.shared.permits.take();
        self.build.observer.begin(number, &name);
        let began = Instant::now();
        let result = self.recall_or_do(number, what, keys, &|| work(number));
        let outcome = match &result {
            Ok((outcome, _)) => *outcome,
            Err(_) if self.build.is_over() => Outcome::Cancelled,
            Err(_) => Outcome::Failed,
        };
        self.build.observer.end(number, outcome, began.elapsed());
        drop(permit);
        let memory = result?.1;
        Ok(self.adopt(memory))
    }

    fn recall_or_do(
        &self,
        number: usize,
        what: &str,
        keys: &[KeyOf<'_>],
        work: &dyn Fn() -> Result<Option<Layer>, Problem>,
    ) -> Result<(Outcome, Memory), Problem> {
        let bench = self.build.bench;
        let layers = &self.state.base.layers;
        let mut tried: Vec<String> = Vec::new();
        let remember = |keys: &[String], memory: &Memory| -> Result<(), Problem> {
            Ok(keys.iter().try_for_each(|key| bench.remember(key, what, memory))?)
        };
        for key in keys {
            let key = key()?.finish();
            let known = if self.no_cache { None } else { self.build.recall(number, &key, layers, what)? };
            if let Some(memory) = known.filter(|memory| memory.layers.starts_with(layers)) {
                remember(&tried, &memory)?;
                self.build.note_use(key.clone());
                tried.push(key);
                self.build.shared.caches.note(tried, layers, &memory);
                return Ok((Outcome::Cached, memory));
            }
            tried.push(key);
        }
        // Another platform's stage may be at the same step. An equal one elsewhere is a step of its own.
        let shared = self.build.shared;
        let key = tried.last().map_or("", String::as_str);
        let place = format!("{key} {} {}", self.index, self.place.0);
        let claim = match shared.under_way.claim(&place, &shared.permits) {
            Turn::Ours(claim) => Some(claim),
            Turn::Done(memory) if memory.layers.starts_with(layers) => {
                shared.caches.note(tried, layers, &memory);
                return Ok((Outcome::Cached, memory));
            }
            Turn::Done(_) => None,
        };
        if self.build.is_over() {
            return Err(Problem::Engine(strata_engine::Error::Cancelled));
        }
        let layer = work()?;
        let mut memory = Memory { layers: layers.clone(), size_bytes: 0, created: Timestamp::now() };
        if let Some(layer) = layer {
            memory.layers.push(layer.diff_id);
            memory.size_bytes = layer.size_bytes;
            self.build.shared.caches.note_made(&memory);
        }
        remember(&tried, &memory)?;
        if let Some(claim) = claim {
            claim.done(&memory);
        }
        shared.caches.note(tried, layers, &memory);
        Ok((Outcome::Done, memory))
    }

    /// Stands on the layers that a step left.
    fn adopt(&mut self, memory: Memory) -> Option<Timestamp> {
        let Memory { layers, size_bytes, created } = memory;
        let base = &mut self.state.base;
        if layers.len() == base.layers.len() {
            return None;
        }
        let diff_id = layers.last()?.clone();
        base.config.rootfs.diff_ids.push(diff_id.clone());
        base.added.push(Layer { diff_id, size_bytes, added: created });
        base.layers = layers;
        Some(created)
    }
}

/// Whether a step has a place among those that are shown.
fn is_counted(instruction: &Instruction) -> bool {
    use Instruction::{Add, Copy, Run, Workdir};
    matches!(instruction, Run(_) | Copy(_) | Add(_) | Workdir(_))
}
