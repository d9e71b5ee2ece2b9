//! Which stages are needed, and all of them at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use strata_dockerfile::{Dockerfile, Instruction};
use strata_engine::Engine;
use strata_engine::workbench::Workbench;
use strata_layer::Time;
use strata_types::{Digest, Platform, Watch};

use crate::annotation;
use crate::base::{Base, Origin};
use crate::caches::Caches;
use crate::checks;
use crate::context::Context;
use crate::error::{BuildError, Problem};
use crate::export::{self, Exported};
use crate::key::Key;
use crate::plan::Plan;
use crate::request::{BuildRequest, Built, NamedContext, Observer, Outcome};
use crate::stage::{Finished, StageRun};
use crate::under_way::{Permits, UnderWay, lock};

/// Where COPY takes files from.
pub(crate) enum Files<'b> {
    /// The context.
    Context(&'b Context),
    /// A stage or an image.
    Layers(Arc<Base>),
}

/// A build while it goes on: what all its stages share.
pub(crate) struct Build<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) plan: Plan<'a>,
    pub(crate) bench: &'a Workbench<'a>,
    pub(crate) observer: &'a dyn Observer,
    /// What the image is to run on.
    pub(crate) platform: Platform,
    /// The same, if the person said it.
    asked: Option<Platform>,
    /// What this machine is.
    pub(crate) native: Platform,
    /// What the builds for all platforms share.
    pub(crate) shared: &'a Shared,
    slots: Vec<Slot>,
    images: Mutex<Images>,
    used: Mutex<Vec<String>>,
    pub(crate) began: Timestamp,
}

/// What builds for several platforms at once share.
pub(crate) struct Shared {
    /// What is remembered outside the store.
    pub(crate) caches: Caches,
    /// Steps at once.
    pub(crate) permits: Permits,
    /// Those that are being done.
    pub(crate) under_way: UnderWay,
    /// The next step's number.
    numbers: AtomicUsize,
    /// One of them failed, so that the rest is in vain.
    failed: AtomicBool,
    /// Why.
    error: Mutex<Option<BuildError>>,
}

impl Shared {
    fn new(steps_at_once: usize) -> Self {
        Self {
            caches: Caches::default(),
            permits: Permits::new(steps_at_once),
            under_way: UnderWay::default(),
            numbers: AtomicUsize::new(1),
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    /// Notes why a stage failed. The first error counts; that a stage did not get what it needs follows from another.
    fn fail(&self, error: BuildError) {
        let is_first = !self.failed.swap(true, Ordering::SeqCst);
        let mut kept = lock(&self.error);
        if is_first || (kept.is_none() && !matches!(*error.problem, Problem::Needed)) {
            *kept = Some(error);
        }
    }
}

/// The images that were looked for, by name and platform.
type Images = HashMap<(String, Option<Platform>), Arc<Base>>;

/// What became of a stage.
#[derive(Debug, Default)]
struct Slot {
    /// Somebody builds it, or has.
    begun: AtomicBool,
    result: Mutex<Option<Result<Arc<Finished>, ()>>>,
    ready: Condvar,
}

/// Builds an image.
///
/// # Errors
/// When the Dockerfile is none, or a step fails. What was done until then is remembered.
pub fn build(engine: &Engine, request: &BuildRequest, observer: &dyn Observer) -> Result<Built, BuildError> {
    let file = Dockerfile::parse(&request.dockerfile).map_err(BuildError::outside)?;
    let native = engine.platform();
    let bench = engine.workbench().map_err(BuildError::outside)?;
    let asked = match request.platforms.as_slice() {
        [] => vec![None],
        platforms => platforms.iter().cloned().map(Some).collect(),
    };
    let platforms: Vec<Platform> = asked.iter().map(|asked| asked.clone().unwrap_or_else(|| native.clone())).collect();
    annotation::check(request, &platforms).map_err(BuildError::outside)?;
    let shared = Shared::new(request.steps_at_once);
    let mut builds = Vec::new();
    for (asked, platform) in asked.into_iter().zip(platforms) {
        let plan = Plan::new(&file, request, (&native, &platform))?;
        builds.push(Build {
            request,
            bench: &bench,
            observer,
            platform,
            asked,
            native: native.clone(),
            shared: &shared,
            slots: file.stages.iter().map(|_| Slot::default()).collect(),
            plan,
            images: Mutex::default(),
            used: Mutex::default(),
            began: Timestamp::now(),
        });
    }
    let target = builds[0].plan.target()?;
    checks::before(engine, &builds[0].plan, request)?;
    builds[0].open_caches();
    let finished = run(&builds, target);
    request.contexts().for_each(Context::keep_stamps);
    let finished = finished?;
    let squashed = builds.iter().zip(&finished).map(|(build, finished)| build.squashed(&finished.base));
    let squashed = squashed.collect::<Result<Vec<_>, _>>().map_err(BuildError::outside)?;
    let parts: Vec<_> = builds.iter().zip(&squashed).collect();
    let exported = export::export(&parts).map_err(BuildError::outside)?;
    let layers: Vec<_> = finished.iter().map(|finished| finished.base.layers.as_slice()).collect();
    builds[0].export_caches(&layers).map_err(BuildError::outside)?;
    let made = layers.iter().flat_map(|layers| shared.caches.made(layers)).collect();
    let unused = builds[0].unused_arguments();
    // The images that it began with are here by now.
    let warnings = checks::of_build(engine, &builds[0].plan, request)?.warnings;
    bench.leave().map_err(BuildError::outside)?;
    let Exported { image, config, images } = exported;
    Ok(Built { image, config, made, images, warnings, unused })
}

/// Builds the target for all platforms, and all that it needs: what does not wait for another is done at once.
fn run(builds: &[Build<'_>], target: usize) -> Result<Vec<Arc<Finished>>, BuildError> {
    let needed = |build: &Build<'_>| build.plan.needed(target).into_iter().collect::<Vec<_>>();
    let work: Vec<(&Build<'_>, usize)> =
        builds.iter().flat_map(|build| needed(build).into_iter().map(move |index| (build, index))).collect();
    match work.as_slice() {
        // Without another thread.
        [(build, index)] => build.stage(*index),
        all => std::thread::scope(|scope| {
            for (build, index) in all {
                scope.spawn(move || build.stage(*index));
            }
        }),
    }
    let finished = builds.iter().map(|build| build.result(target)).collect::<Result<Vec<_>, _>>();
    match (finished, lock(&builds[0].shared.error).take()) {
        (Ok(finished), None) => Ok(finished),
        (_, Some(error)) => Err(error),
        (Err(problem), None) => Err(BuildError::outside(problem)),
    }
}

impl Build<'_> {
    /// Builds a stage, unless somebody does; it waits for those that it needs.
    fn stage(&self, index: usize) {
        if self.slots[index].begun.swap(true, Ordering::SeqCst) {
            return;
        }
        let result = StageRun::begin(self, index).and_then(StageRun::finish);
        let result = result.map(Arc::new).map_err(|error| self.shared.fail(error));
        *lock(&self.slots[index].result) = Some(result);
        self.slots[index].ready.notify_all();
    }

    /// Waits for a stage. One that only a trigger of an image asks for is begun now.
    pub(crate) fn result(&self, index: usize) -> Result<Arc<Finished>, Problem> {
        self.stage(index);
        let slot = &self.slots[index];
        let mut result = lock(&slot.result);
        loop {
            match &*result {
                Some(Ok(finished)) => return Ok(Arc::clone(finished)),
                Some(Err(())) => return Err(Problem::Needed),
                None => result = slot.ready.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What `--from` names, seen from a stage.
    pub(crate) fn files(&self, from: &str, stage: usize) -> Result<Files<'_>, Problem> {
        if from.is_empty() {
            return Ok(Files::Context(&self.request.context));
        }
        if let Some(context) = self.request.context_named(from) {
            let platform = self.asked.clone();
            return Ok(match self.context(from, context, platform.as_ref(), &format!("FROM {from}"))? {
                Some(base) => Files::Layers(base),
                None => match context {
                    NamedContext::Files(files) => Files::Context(files),
                    _ => Files::Layers(Arc::new(Base::scratch(&self.platform))),
                },
            });
        }
        if let Some(index) = self.plan.stage_named(from, stage) {
            return Ok(Files::Layers(Arc::new(self.result(index)?.base.clone())));
        }
        self.plan.refuse_later(from, stage)?;
        let platform = self.asked.clone();
        Ok(Files::Layers(self.image(from, platform.as_ref(), &format!("FROM {from}"))?))
    }

    /// The image that a further context is; none if it is files, or `scratch`.
    pub(crate) fn context(
        &self,
        name: &str,
        context: &NamedContext,
        platform: Option<&Platform>,
        step: &str,
    ) -> Result<Option<Arc<Base>>, Problem> {
        match context {
            NamedContext::Files(_) => Ok(None),
            NamedContext::Image(image) if image == "scratch" => Ok(None),
            NamedContext::Image(image) => Ok(Some(self.image(image, platform, step)?)),
            NamedContext::Layout { dir, name: which } => {
                let wanted = platform.unwrap_or(&self.platform);
                let find = || Base::layout(self.bench, name, (dir, which), wanted, self);
                Ok(Some(self.found_once(&format!("oci-layout://{name}"), platform, step, &find)?))
            }
        }
    }

    /// An image, looked for once. It is a step of its own.
    pub(crate) fn image(&self, name: &str, platform: Option<&Platform>, step: &str) -> Result<Arc<Base>, Problem> {
        let wanted = (platform.unwrap_or(&self.platform), platform.is_some());
        self.found_once(name, platform, step, &|| Base::image(self.bench, name, wanted, self.request.pull, self))
    }

    fn found_once(
        &self,
        name: &str,
        platform: Option<&Platform>,
        step: &str,
        find: &dyn Fn() -> Result<Base, Problem>,
    ) -> Result<Arc<Base>, Problem> {
        let mut images = lock(&self.images);
        let key = (name.to_owned(), platform.cloned());
        if let Some(base) = images.get(&key) {
            return Ok(Arc::clone(base));
        }
        let (number, began) = (self.number(), Instant::now());
        self.observer.begin(number, step);
        let base = find();
        let outcome = if base.is_ok() { Outcome::Done } else { Outcome::Failed };
        self.observer.end(number, outcome, began.elapsed());
        let base = Arc::new(base?);
        images.insert(key, Arc::clone(&base));
        Ok(base)
    }

    /// The platform that was asked for, by FROM or for the whole build.
    pub(crate) fn platform_of(&self, index: usize) -> Result<Option<Platform>, Problem> {
        self.plan.platform_of(index, self.asked.as_ref(), &self.native)
    }

    /// What stands before the name of a step: `[build 2/5]`.
    pub(crate) fn prefix(&self, index: usize, (place, count): (usize, usize)) -> String {
        let stage = &self.plan.file.stages[index];
        // With several platforms each says which it is, as BuildKit's do.
        let platform = match self.request.platforms.len() {
            0 | 1 => String::new(),
            _ => format!("{} ", self.platform),
        };
        match (self.plan.file.stages.len(), stage.name.as_str()) {
            (1, _) => format!("[{platform}{place}/{count}]"),
            (_, "") => format!("[{platform}stage-{index} {place}/{count}]"),
            (_, name) => format!("[{platform}{name} {place}/{count}]"),
        }
    }

    /// The next step's number.
    pub(crate) fn number(&self) -> usize {
        self.shared.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether nothing new is to be begun.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst) || self.observer.cancelled()
    }

    /// Notes that something remembered was of use.
    pub(crate) fn note_use(&self, key: String) {
        lock(&self.used).push(key);
    }

    /// The latest time that a layer may have.
    pub(crate) fn newest(&self) -> Option<Time> {
        self.request.epoch.map(|seconds| Time { seconds, nanoseconds: 0 })
    }

    /// The time of what has none of its own.
    pub(crate) fn now(&self) -> Time {
        self.newest().unwrap_or_else(|| Time { seconds: self.began.as_second(), nanoseconds: 0 })
    }

    /// A time in the config.
    pub(crate) fn epoch_or(&self, time: Timestamp) -> Timestamp {
        self.request.epoch.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(time)
    }

    /// Layers of other times are other layers.
    pub(crate) fn epoch_into(&self, key: &mut Key) {
        key.part("epoch", self.request.epoch.map(|epoch| epoch.to_string()).unwrap_or_default());
    }

    /// The images that were built from, each once.
    pub(crate) fn origins(&self) -> BTreeSet<Origin> {
        lock(&self.images).values().filter_map(|base| base.origin.clone()).collect()
    }

    /// What was remembered and of use.
    pub(crate) fn used(&self) -> Vec<String> {
        lock(&self.used).clone()
    }

    /// Arguments that were given and that nothing declares.
    fn unused_arguments(&self) -> Vec<String> {
        let declares = |instruction: &Instruction, name: &str| match instruction {
            Instruction::Arg(arguments) => arguments.iter().any(|argument| argument.name == name),
            _ => false,
        };
        let steps = || self.plan.file.stages.iter().flat_map(|stage| &stage.steps);
        let declared = |name: &str| steps().any(|step| declares(&step.instruction, name));
        self.plan.globals.unused(&declared).map(str::to_owned).collect()
    }
}

impl Watch for Build<'_> {
    fn phase(&self, item: &Digest, phase: &str) {
        self.observer.phase(item, phase);
    }

    fn progress(&self, item: &Digest, done_bytes: u64, total_bytes: u64) {
        self.observer.progress(item, done_bytes, total_bytes);
    }

    fn say(&self, line: &str) {
        self.observer.say(line);
    }

    fn cancelled(&self) -> bool {
        self.is_over()
    }
}
