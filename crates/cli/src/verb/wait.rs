//! `strata wait`: block until one or more containers stop, then print their exit codes.

use crate::verb::prelude::*;

/// What `strata wait` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Block until one or more containers stop, then print their exit codes";
    const USAGE: &str = "CONTAINER [CONTAINER...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata wait"))
    }
}
