//! `strata save`: save one or more images to a tar archive (streamed to STDOUT by default).

use crate::verb::prelude::*;

/// What `strata save` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short = 'o', long)]
    pub output: Option<String>,
    /// The images
    #[arg(required = true)]
    pub images: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Save one or more images to a tar archive (streamed to STDOUT by default)";
    const USAGE: &str = "[OPTIONS] IMAGE [IMAGE...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata save"))
    }
}
