//! `strata pull`: download an image from a registry.

use crate::verb::prelude::*;

/// What `strata pull` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Download all tagged images in the repository
    #[arg(short = 'a', long)]
    pub all_tags: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    pub platform: Option<String>,
    /// Suppress verbose output
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// The image
    pub image: String,
}

impl Verb for Args {
    const ABOUT: &str = "Download an image from a registry";
    const USAGE: &str = "[OPTIONS] NAME[:TAG|@DIGEST]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata pull"))
    }
}
