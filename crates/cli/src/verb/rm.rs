//! `strata rm`: remove one or more containers.

use crate::verb::prelude::*;

/// What `strata rm` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short = 'v', long)]
    pub volumes: bool,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata rm"))
    }
}
