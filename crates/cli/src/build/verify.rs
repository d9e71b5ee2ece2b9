//! One build, seen and told; and `--verify`: two builds without cache, compared.

use std::io::Write as _;

use strata_build::{BuildError, BuildRequest, Built, Compared, Output, Problem, compare};
use strata_dockerfile::Warning;
use strata_engine::Engine;

use super::excerpt::excerpt;
use super::raw_json::RawJson;
use super::steps::Steps;
use super::tty::Tty;
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
    /// How.
    pub mode: Mode,
    /// How many lines of what a step writes are drawn on a terminal.
    pub tail_lines: usize,
}

/// How steps are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only failures.
    Quiet,
    /// As lines.
    Plain,
    /// Drawn on a terminal.
    Tty,
    /// As BuildKit's documents.
    RawJson,
}

impl Mode {
    /// Reads `--progress`; where nothing is said a terminal is drawn on.
    pub fn parse(word: &str, usual: Option<&str>, quiet: bool, is_terminal: bool) -> Result<Self> {
        let word = usual.filter(|_| word == "auto" && !quiet).unwrap_or(word);
        Ok(match word {
            "quiet" => Self::Quiet,
            "auto" if quiet => Self::Quiet,
            other if quiet => return Err(Failure::new(format!("progress={other} and quiet cannot be used together"))),
            "auto" if is_terminal => Self::Tty,
            "auto" | "plain" => Self::Plain,
            "tty" => Self::Tty,
            "rawjson" => Self::RawJson,
            other => {
                let failure = Failure::new(format!("invalid progress mode {other}"));
                return Err(failure.hint("auto, plain, tty, quiet or rawjson"));
            }
        })
    }
}

/// Builds, and shows the steps.
pub fn attempt(session: &mut Session, engine: &Engine, request: &BuildRequest, shown: &Shown<'_>) -> Result<Built> {
    let progress = Progress::start(session, Show::Nowhere)?;
    let (result, failed) = match shown.mode {
        Mode::Tty => {
            let steps = Tty::new(&progress, Box::new(std::io::stderr()), shown.tail_lines)?;
            let result = strata_build::build(engine, request, &steps);
            (result, steps.finish())
        }
        Mode::RawJson => {
            let steps = RawJson::new(&progress, Box::new(std::io::stderr()));
            (strata_build::build(engine, request, &steps), String::new())
        }
        Mode::Quiet | Mode::Plain => {
            let out: Option<Box<dyn std::io::Write + Send>> =
                if shown.mode == Mode::Quiet { None } else { Some(Box::new(std::io::stderr())) };
            let steps = Steps::new(&progress, out);
            let result = strata_build::build(engine, request, &steps);
            (result, steps.failed())
        }
    };
    progress.finish();
    result.map_err(|error| {
        let is_told =
            matches!(&*error.problem, Problem::Lint { .. } | Problem::Engine(strata_engine::Error::Cancelled));
        let warnings = match shown.mode {
            Mode::Plain | Mode::Tty if !is_told => warned(&strata_build::warnings(engine, request)),
            _ => String::new(),
        };
        // Whoever cannot read it sees the error itself.
        if let Err(error) = session.err.write_all((failed + &warnings).as_bytes()) {
            tracing::debug!(%error, "nobody sees why a build failed");
        }
        told(session, error, shown.name, shown.text)
    })
}

/// Warnings as buildx tells them: how many there are, and a line for each.
pub fn warned<'w>(warnings: impl IntoIterator<Item = &'w Warning>) -> String {
    let line = |warning: &Warning| format!(" - {}: {} (line {})\n", warning.rule, warning.message, warning.line);
    let lines: Vec<String> = warnings.into_iter().map(line).collect();
    let head = match lines.len() {
        0 => return String::new(),
        1 => "1 warning found".to_owned(),
        count => format!("{count} warnings found"),
    };
    format!("\n {head} (--check tells more):\n{}", lines.concat())
}

/// A failed build as the program ends with it; its lines of the Dockerfile are shown.
pub fn told(session: &mut Session, error: BuildError, name: &str, text: &str) -> Failure {
    let excerpt = match (&*error.problem, error.lines) {
        (Problem::Lint { warnings, .. }, _) => warned(warnings),
        // The person asked for it, not the file.
        (Problem::Engine(strata_engine::Error::Cancelled), _) => String::new(),
        (_, Some(lines)) => excerpt(name, text, lines),
        (_, None) => String::new(),
    };
    if let Err(error) = session.err.write_all(excerpt.as_bytes()) {
        tracing::debug!(%error, "nobody sees where a build failed");
    }
    failure(error)
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
    if compared == Compared::Same && matches!(shown.mode, Mode::Plain | Mode::Tty) {
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
