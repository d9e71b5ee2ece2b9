//! `strata start`: start one or more stopped containers.

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
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Start one or more stopped containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata start"))
    }
}
