//! `strata push`: upload an image to a registry.

use crate::verb::prelude::*;

/// What `strata push` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Push all tags of an image to the repository
    #[arg(short = 'a', long)]
    pub all_tags: bool,
    /// Suppress verbose output
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// The image
    pub image: String,
}

impl Verb for Args {
    const ABOUT: &str = "Upload an image to a registry";
    const USAGE: &str = "[OPTIONS] NAME[:TAG]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata push"))
    }
}
