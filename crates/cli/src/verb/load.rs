//! `strata load`: load an image from a tar archive or STDIN.

use crate::verb::prelude::*;

/// What `strata load` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read from tar archive file, instead of STDIN
    #[arg(short = 'i', long)]
    pub input: Option<String>,
    /// Suppress the load output
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Load an image from a tar archive or STDIN";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata load"))
    }
}
