//! `strata diff`: inspect changes to files or directories on a container's filesystem.

use crate::verb::prelude::*;

/// What `strata diff` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Inspect changes to files or directories on a container's filesystem";
    const USAGE: &str = "CONTAINER";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata diff"))
    }
}
