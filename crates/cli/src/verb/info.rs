//! `strata info`: display system-wide information.

use crate::verb::prelude::*;

/// What `strata info` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display system-wide information";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata info"))
    }
}
