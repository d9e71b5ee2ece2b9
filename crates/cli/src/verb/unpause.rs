//! `strata unpause`: unpause all processes within one or more containers.

use crate::verb::prelude::*;

/// What `strata unpause` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Unpause all processes within one or more containers";
    const USAGE: &str = "CONTAINER [CONTAINER...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata unpause"))
    }
}
