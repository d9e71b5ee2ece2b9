//! `strata system prune`: remove unused data.

use crate::verb::prelude::*;

/// What `strata system prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove all unused images not just dangling ones
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter")]
    pub filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    pub volumes: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Remove unused data";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata system prune"))
    }
}
