//! `strata restart`: restart one or more containers.

use strata_engine::container::Stop;

use crate::operands;
use crate::opts;
use crate::verb::prelude::*;

/// What `strata restart` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Signal to send to the container
    #[arg(short = 's', long)]
    pub signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short = 't', long, value_name = "int")]
    pub time: Option<i64>,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Restart one or more containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let signal = self.signal.as_deref().map(opts::signal::parse).transpose()?;
        let stop = Stop { signal, timeout_s: self.time };
        let engine = session.engine()?;
        operands::each(session, &self.containers, |session, name| {
            engine.restart_container(&engine.container(name)?, stop)?;
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
