//! `strata images`: list images.

use crate::verb::prelude::*;

/// What `strata images` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all images (default hides intermediate images)
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Show digests
    #[arg(long)]
    pub digests: bool,
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter")]
    pub filter: Vec<String>,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only show image IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Only images of this repository
    pub repository: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "List images";
    const USAGE: &str = "[OPTIONS] [REPOSITORY[:TAG]]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata images"))
    }
}
