//! `strata kill`: kill one or more running containers.

use strata_sys::signal::Signal;

use crate::operands;
use crate::opts;
use crate::verb::prelude::*;

/// What `strata kill` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Signal to send to the container
    #[arg(short = 's', long)]
    pub signal: Option<String>,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Kill one or more running containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let signal = || match self.signal.as_deref() {
            None | Some("") => Ok(Signal::KILL),
            Some(text) => opts::signal::parse(text).map_err(|invalid| match text.parse::<i64>() {
                Ok(number) if number != 0 => Failure::new(format!("the linux daemon does not support signal {number}")),
                _ => invalid.into(),
            }),
        };
        let engine = session.engine()?;
        let kill = |name: &str| {
            let signal = signal()?;
            Ok(engine.kill_container(&engine.container(name)?, signal)?)
        };
        operands::each(session, &self.containers, |session, name| {
            kill(name).map_err(|failure: Failure| failure.within(format!("cannot kill container: {name}")))?;
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
