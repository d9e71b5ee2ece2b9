//! What could be better in a Dockerfile, with what is known of the build: its target, its arguments, the images that are here.

use std::collections::BTreeSet;

use strata_dockerfile::{CHECK_ARGUMENT, Checked, Dockerfile, KnownBase, Linted, Warning, lint, lint_above};
use strata_engine::Engine;
use strata_types::Platform;

use crate::error::{BuildError, Problem};
use crate::outline::outline;
use crate::plan::{Plan, Source};
use crate::request::BuildRequest;

/// What checks found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What could be better.
    pub warnings: Vec<Warning>,
    /// Why it cannot be built, as far as that is seen without building it.
    pub error: Option<BuildError>,
}

/// Says what could be better in what the target reaches; in all of the file if no target is named. Images that are not here
/// are not fetched for it: of variables that they may set nothing is told.
pub fn check(engine: &Engine, request: &BuildRequest) -> Findings {
    let (native, text) = (engine.platform(), &request.dockerfile);
    let file = match Dockerfile::parse(text) {
        Ok(file) => file,
        Err(error) => {
            return Findings { warnings: lint_above(text, error.line), error: Some(BuildError::outside(error)) };
        }
    };
    let platform = request.platforms.first().unwrap_or(&native);
    let plan = Plan::new(&file, request, (&native, platform));
    let target = match &plan {
        Ok(plan) if request.target.is_some() => plan.target().ok(),
        _ => None,
    };
    let reached = plan.as_ref().ok().zip(target).map(|(plan, target)| plan.needed(target));
    let known = |index| known_base(engine, plan.as_ref().ok()?, request.platforms.first(), index);
    match linted(&file, request, reached.as_ref(), &known) {
        Ok(Linted { warnings, refusal }) => {
            let error = outline(request, &native).err();
            let refused = refusal.map(|refusal| BuildError::outside(Problem::Lint { refusal, warnings: Vec::new() }));
            Findings { warnings, error: error.or(refused) }
        }
        Err(error) => Findings { warnings: Vec::new(), error: Some(error) },
    }
}

/// Says what could be better in what the target needs, of a build that failed: it may be why.
pub fn warnings(engine: &Engine, request: &BuildRequest) -> Vec<Warning> {
    let native = engine.platform();
    let file = match Dockerfile::parse(&request.dockerfile) {
        Ok(file) => file,
        Err(error) => return lint_above(&request.dockerfile, error.line),
    };
    let platform = request.platforms.first().unwrap_or(&native);
    let plan = Plan::new(&file, request, (&native, platform));
    // What is wrong beyond that was told by the build.
    plan.and_then(|plan| of_build(engine, &plan, request)).map(|linted| linted.warnings).unwrap_or_default()
}

/// Refuses to build what says that warnings are errors, if there are some.
pub(crate) fn before(engine: &Engine, plan: &Plan<'_>, request: &BuildRequest) -> Result<(), BuildError> {
    let is_said = plan.file.directives.check.is_some() || request.arguments.contains_key(CHECK_ARGUMENT);
    if !is_said {
        return Ok(());
    }
    match of_build(engine, plan, request)? {
        Linted { warnings, refusal: Some(refusal) } => Err(BuildError::outside(Problem::Lint { refusal, warnings })),
        Linted { .. } => Ok(()),
    }
}

/// The same for a build, of what its target needs.
pub(crate) fn of_build(engine: &Engine, plan: &Plan<'_>, request: &BuildRequest) -> Result<Linted, BuildError> {
    let reached = plan.needed(plan.target()?);
    linted(plan.file, request, Some(&reached), &|index| known_base(engine, plan, request.platforms.first(), index))
}

fn linted(
    file: &Dockerfile,
    request: &BuildRequest,
    stages: Option<&BTreeSet<usize>>,
    base: &dyn Fn(usize) -> Option<KnownBase>,
) -> Result<Linted, BuildError> {
    let ignore = Some(request.context.ignore()).filter(|ignore| !ignore.is_empty());
    let checked = Checked { stages, arguments: &request.arguments, base, ignore };
    lint(file, &checked).map_err(|error| BuildError::outside(Problem::Check(error)))
}

/// The image that a stage begins with, if it is here.
fn known_base(engine: &Engine, plan: &Plan<'_>, asked: Option<&Platform>, index: usize) -> Option<KnownBase> {
    let Source::Image(name) = &plan.bases[index] else { return None };
    // What cannot be read is told by the build.
    let asked = plan.platform_of(index, asked, &engine.platform()).ok()?;
    let expected = asked.clone().unwrap_or_else(|| engine.platform());
    let image = engine.find_image_for(name, &expected).ok()??;
    let found = engine.config(&image.id).ok()?;
    let (actual, config) = (found.platform(), found.config.clone());
    let is_other = (&expected.os, &expected.architecture) != (&actual.os, &actual.architecture);
    // Without a wish it is built for what the image is for.
    let is_meant = asked.is_none() && engine.can_run(&actual);
    let other_platform = (is_other && !is_meant && !actual.architecture.is_empty()).then_some((expected, actual));
    Some(KnownBase { env: config.env, has_shell: !config.shell.is_empty(), other_platform })
}
