//! `strata logs`: fetch the logs of a container.

use crate::verb::prelude::*;

/// What `strata logs` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show extra details provided to logs
    #[arg(long)]
    pub details: bool,
    /// Follow log output
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    pub since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all")]
    pub tail: String,
    /// Show timestamps
    #[arg(short = 't', long)]
    pub timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    pub until: Option<String>,
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Fetch the logs of a container";
    const USAGE: &str = "[OPTIONS] CONTAINER";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata logs"))
    }
}
