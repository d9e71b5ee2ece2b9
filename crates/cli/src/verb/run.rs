//! `strata run`: create and run a new container from an image.

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use strata_engine::Engine;
use strata_engine::container::{Known, Remove};

use crate::container::foreground::{Front, Streams, start_failure};
use crate::container::plain;
use crate::container::request::streams;
use crate::verb::Starts;
use crate::verb::container_options::ContainerOptions;
use crate::verb::create::make;
use crate::verb::prelude::*;

/// What `strata run` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What the container is
    #[command(flatten)]
    pub options: ContainerOptions,
    /// Run container in background and print container ID
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub detach_keys: Option<String>,
    /// Pull image before running ("always", "missing", "never")
    #[arg(long, default_value = "missing")]
    pub pull: String,
    /// Proxy received signals to the process
    #[arg(long, default_value = "true")]
    pub sig_proxy: bool,
    /// The image
    pub image: String,
    /// The command and its arguments
    pub command: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create and run a new container from an image";
    const USAGE: &str = "[OPTIONS] IMAGE [COMMAND] [ARG...]";
    const OPTIONS_END_AT_NAME: bool = true;
    const FAILURE_CODE: u8 = 125;
    const STARTS: Starts = Starts::New;

    fn plain(words: &[OsString]) -> Option<Self> {
        plain::run(words)
    }

    fn run(self, session: &mut Session) -> Result<Exit> {
        let attached = streams(&self.options, self.detach)?;
        let front = Front {
            stdin: attached.stdin,
            stdout: attached.stdout,
            stderr: attached.stderr,
            tty: self.options.tty,
            proxy_signals: self.sig_proxy,
            detach_keys: Front::keys(self.detach_keys.as_deref())?,
        };
        front.check(session)?;
        let what = (self.image, self.command);
        // Nobody takes it apart: the program ends with the verb.
        let engine = ManuallyDrop::new(session.engine()?);
        engine.expect_starts(session.ahead.take(), 1);
        let created = make(session, &engine, &self.options, &self.pull, what, self.detach)?;
        if self.options.kernel_memory.is_some() {
            writeln!(session.err, "WARNING: Kernel memory limits are deprecated and ignored")?;
        }
        let known = created.known;
        if self.detach {
            return in_background(session, &engine, &known);
        }
        in_foreground(session, &engine, &known, &front)
    }
}

fn in_background(session: &mut Session, engine: &Engine, known: &Known) -> Result<Exit> {
    match engine.start_container(known, None) {
        Ok(started) => {
            tell(session, started.map(|started| started.warnings).unwrap_or_default(), "\n")?;
            writeln!(session.out, "{}", known.id())?;
            Ok(Exit::SUCCESS)
        }
        Err(error) => {
            clear(engine, known);
            Err(start_failure(error))
        }
    }
}

/// Starts a container and stays in front of it. A `--rm` container is gone afterwards.
fn in_foreground(session: &mut Session, engine: &Engine, known: &Known, front: &Front) -> Result<Exit> {
    let streams = Streams::of_process();
    let attach = front.attach(session, &streams)?;
    engine.record_event(strata_engine::events::of(known, "attach"));
    let started = match engine.start_container(known, Some(attach)) {
        Ok(started) => started,
        Err(error) => {
            clear(engine, known);
            return Err(start_failure(error));
        }
    };
    let Some(started) = started else { return Ok(Exit::SUCCESS) };
    tell(session, started.warnings, streams.line_end())?;
    let Some(attached) = started.session else { return Ok(Exit::SUCCESS) };
    match front.stay(session, attached, &streams)? {
        Some(exit) => {
            if known.document.host.auto_remove {
                engine.remove_container(known, Remove { force: true, volumes: true })?;
            }
            Ok(exit)
        }
        None => Ok(Exit::SUCCESS),
    }
}

fn tell(session: &mut Session, warnings: Vec<String>, line_end: &str) -> Result<()> {
    for warning in warnings {
        write!(session.err, "WARNING: {warning}{line_end}")?;
    }
    Ok(())
}

/// Removes a `--rm` container that could not be started. Why it could not is what the person has to know.
fn clear(engine: &Engine, known: &Known) {
    if !known.document.host.auto_remove {
        return;
    }
    if let Err(error) = engine.remove_container(known, Remove { force: true, volumes: true }) {
        let error = strata_types::sentence(&error);
        tracing::warn!(container = %known.id(), error, "a container that could not be started stays");
    }
}
