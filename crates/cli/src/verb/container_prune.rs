//! `strata container prune`: remove all stopped containers.

use crate::verb::prelude::*;

/// What `strata container prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    pub filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Remove all stopped containers";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata container prune"))
    }
}
