//! `strata export`: export a container's filesystem as a tar archive.

use crate::verb::prelude::*;

/// What `strata export` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short = 'o', long)]
    pub output: Option<String>,
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Export a container's filesystem as a tar archive";
    const USAGE: &str = "[OPTIONS] CONTAINER";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata export"))
    }
}
