//! `strata kill`: kill one or more running containers.

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

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata kill"))
    }
}
