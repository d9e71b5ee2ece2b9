//! `strata commit`: create a new image from a container's changes.

use crate::verb::prelude::*;

/// What `strata commit` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short = 'a', long)]
    pub author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    pub change: Vec<String>,
    /// Commit message
    #[arg(short = 'm', long)]
    pub message: Option<String>,
    /// Pause container during commit
    #[arg(short = 'p', long, default_value = "true")]
    pub pause: bool,
    /// The container
    pub container: String,
    /// The image
    pub image: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a new image from a container's changes";
    const USAGE: &str = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata commit"))
    }
}
