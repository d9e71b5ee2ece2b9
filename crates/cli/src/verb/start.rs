//! `strata start`: start one or more stopped containers.

use strata_engine::Engine;
use strata_engine::container::Remove;

use crate::container::foreground::{Front, Streams, start_failure};
use crate::operands;
use crate::verb::Starts;
use crate::verb::prelude::*;

/// What `strata start` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short = 'a', long)]
    pub attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short = 'i', long)]
    pub interactive: bool,
    /// Start what is to run after a reboot, as the restart policies say
    #[arg(long)]
    pub boot: bool,
    /// The containers
    #[arg(required_unless_present = "boot")]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Start one or more stopped containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";
    const STARTS: Starts = Starts::Known;

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        if self.boot {
            return boot(session, &engine);
        }
        engine.expect_starts(session.ahead.take(), self.containers.len());
        if self.attach || self.interactive {
            let [name] = self.containers.as_slice() else {
                return Err(Failure::new("you cannot start and attach multiple containers at once"));
            };
            return self.in_foreground(session, &engine, name);
        }
        let mut failed = Vec::new();
        let exit = operands::each(session, &self.containers, |session, name| {
            let started = start(session, &engine, name);
            if started.is_err() {
                failed.push(name.as_str());
            }
            started
        })?;
        if exit == Exit::FAILURE {
            return Err(Failure::new(format!("failed to start containers: {}", failed.join(", "))));
        }
        Ok(exit)
    }
}

fn start(session: &mut Session, engine: &Engine, name: &str) -> Result<()> {
    let started = engine.start_container(&engine.container(name)?, None)?;
    for warning in started.map(|started| started.warnings).unwrap_or_default() {
        writeln!(session.err, "WARNING: {warning}")?;
    }
    Ok(writeln!(session.out, "{name}")?)
}

/// Starts what is to run after a reboot; containers with `--rm` that the reboot ended are removed.
fn boot(session: &mut Session, engine: &Engine) -> Result<Exit> {
    let due = engine.due_after_reboot()?;
    engine.expect_starts(session.ahead.take(), due.len());
    operands::each(session, due, |session, known| {
        let started = engine.start_container(&known, None)?;
        for warning in started.map(|started| started.warnings).unwrap_or_default() {
            writeln!(session.err, "WARNING: {warning}")?;
        }
        Ok(writeln!(session.out, "{}", known.record.name)?)
    })
}

impl Args {
    fn in_foreground(&self, session: &mut Session, engine: &Engine, name: &str) -> Result<Exit> {
        let known = engine.container(name)?;
        let config = &known.document.config;
        let front = Front {
            stdin: self.interactive && config.open_stdin,
            stdout: true,
            stderr: true,
            tty: config.tty,
            proxy_signals: true,
            detach_keys: Front::keys(self.detach_keys.as_deref())?,
        };
        front.check(session)?;
        let streams = Streams::of_process();
        let attach = front.attach(session, &streams)?;
        engine.record_event(strata_engine::events::of(&known, "attach"));
        let started = match engine.start_container(&known, Some(attach)) {
            Ok(Some(started)) => started.session,
            // It runs already: this is an attach.
            Ok(None) => {
                let attach = front.attach(session, &streams)?;
                Some(engine.process(known.id()).attach(attach)?)
            }
            Err(error) => return Err(start_failure(error).exit(Exit::FAILURE)),
        };
        let Some(attached) = started else { return Ok(Exit::SUCCESS) };
        let Some(exit) = front.stay(session, attached, &streams)? else { return Ok(Exit::SUCCESS) };
        if known.document.host.auto_remove {
            engine.remove_container(&known, Remove { force: true, volumes: true })?;
        }
        Ok(exit)
    }
}
