//! `strata image inspect`: display detailed information on one or more images.

use crate::verb::prelude::*;

/// What `strata image inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// The images
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more images";
    const USAGE: &str = "[OPTIONS] IMAGE [IMAGE...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata image inspect"))
    }
}
