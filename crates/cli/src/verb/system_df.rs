//! `strata system df`: show disk usage.

use crate::verb::prelude::*;

/// What `strata system df` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Show disk usage";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata system df"))
    }
}
