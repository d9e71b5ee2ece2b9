//! `strata rmi`: remove one or more images.

use crate::verb::prelude::*;

/// What `strata rmi` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Force removal of the image
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    pub no_prune: bool,
    /// The images
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more images";
    const USAGE: &str = "[OPTIONS] IMAGE [IMAGE...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata rmi"))
    }
}
