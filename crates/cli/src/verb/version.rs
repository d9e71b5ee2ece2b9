//! `strata version`: shows which strata this is.

use crate::verb::prelude::*;

/// The version and what it was built from, as `strata --version` shows it.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), ", build ", env!("STRATA_BUILD"));

/// What `strata version` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Show the strata version information";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata version"))
    }
}
