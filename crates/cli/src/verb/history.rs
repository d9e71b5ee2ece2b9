//! `strata history`: show the history of an image.

use crate::verb::prelude::*;

/// What `strata history` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, default_value = "true")]
    pub human: bool,
    /// Don't truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only show image IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// The image
    pub image: String,
}

impl Verb for Args {
    const ABOUT: &str = "Show the history of an image";
    const USAGE: &str = "[OPTIONS] IMAGE";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata history"))
    }
}
