//! `strata runtime kill`: send a signal to a container.

use strata_sys::signal::Signal;

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime kill` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Send the signal to all processes inside the container
    #[arg(short = 'a', long)]
    pub all: bool,
    /// The container's id
    pub id: String,
    /// The signal, TERM by default
    pub signal: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Send a signal to a container's first process";
    const USAGE: &str = "[OPTIONS] ID [SIGNAL]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let signal = match &self.signal {
            Some(name) => name.parse::<Signal>().map_err(|_| Failure::new(format!("unknown signal {name:?}")))?,
            None => Signal::TERM,
        };
        runtime::open(session)?.kill(&self.id, signal, self.all)?;
        Ok(Exit::SUCCESS)
    }
}
