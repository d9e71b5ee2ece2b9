//! `strata ps`: list containers.

use crate::verb::prelude::*;

/// What `strata ps` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all containers (default shows just running)
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter")]
    pub filter: Vec<String>,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1")]
    pub last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short = 'l', long)]
    pub latest: bool,
    /// Don't truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only display container IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Display total file sizes
    #[arg(short = 's', long)]
    pub size: bool,
}

impl Verb for Args {
    const ABOUT: &str = "List containers";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata ps"))
    }
}
