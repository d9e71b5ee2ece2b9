//! `strata image prune`: remove unused images.

use crate::verb::prelude::*;

/// What `strata image prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove all unused images, not just dangling ones
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    pub filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Remove unused images";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata image prune"))
    }
}
