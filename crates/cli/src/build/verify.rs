//! One build, seen and told; and `--verify`: two builds without cache, compared.

use std::io::Write as _;

use strata_build::{BuildError, BuildRequest, Built, Compared, Output, compare};
use strata_engine::Engine;

use super::excerpt::excerpt;
use super::steps::Steps;
use crate::exit::{Failure, Result};
use crate::progress::{Progress, Show};
use crate::session::Session;

/// What is shown of a build.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'s> {
    /// What the Dockerfile is called.
    pub name: &'s str,
    /// Its text.
    pub text: &'s str,
    /// Only failures.
    pub is_quiet: bool,
}

/// Builds, and shows the steps.
pub fn attempt(session: &mut Session, engine: &Engine, request: &BuildRequest, shown: &Shown<'_>) -> Result<Built> {
    let progress = Progress::start(session, Show::Nowhere)?;
    let out: Option<Box<dyn std::io::Write + Send>> =
        if shown.is_quiet { None } else { Some(Box::new(std::io::stderr())) };
    let steps = Steps::new(&progress, out);
    let result = strata_build::build(engine, request, &steps);
    let failed = steps.failed();
    drop(steps);
    progress.finish();
    result.map_err(|error| {
        let excerpt = error.lines.map_or_else(String::new, |lines| excerpt(shown.name, shown.text, lines));
        // Whoever cannot read it sees the error itself.
        if let Err(error) = session.err.write_all((failed + &excerpt).as_bytes()) {
            tracing::debug!(%error, "nobody sees why a build failed");
        }
        failure(error)
    })
}

/// Builds twice without cache, keeps nothing but what is remembered, and compares.
pub fn twice(
    session: &mut Session,
    engine: &Engine,
    request: &mut BuildRequest,
    shown: &Shown<'_>,
) -> Result<Compared> {
    let kept = (
        std::mem::replace(&mut request.output, Output::Nothing),
        std::mem::take(&mut request.names),
        std::mem::take(&mut request.cache_to),
        std::mem::replace(&mut request.no_cache, true),
    );
    let first = attempt(session, engine, request, shown)?;
    // The second build is remembered in place of the first, whose layers are needed until they are compared.
    let bench = engine.workbench()?;
    for length in 1..=first.config.diff_ids().len() {
        bench.keep(&first.config.diff_ids()[..length])?;
    }
    let second = attempt(session, engine, request, shown)?;
    let progress = Progress::start(session, Show::Nowhere)?;
    let compared = compare(engine, &first.config, &second.config, &progress);
    progress.finish();
    bench.leave()?;
    // What was remembered of the second is what is built at the end.
    (request.output, request.names, request.cache_to, _) = kept;
    request.no_cache = false;
    request.no_cache_filter.clear();
    let compared = compared.map_err(failure)?;
    if compared == Compared::Same && !shown.is_quiet {
        writeln!(session.err, "verified: two builds without cache came to the same image")?;
    }
    Ok(compared)
}

/// A failed build as the program ends with it.
pub fn failure(error: BuildError) -> Failure {
    let hint = error.hint.clone();
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
