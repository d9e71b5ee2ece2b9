//! `strata cp`: copy files/folders between a container and the local filesystem.

use crate::verb::prelude::*;

/// What `strata cp` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Archive mode (copy all uid/gid information)
    #[arg(short = 'a', long)]
    pub archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// What to take
    pub source: String,
    /// Where to put it
    pub destination: String,
}

impl Verb for Args {
    const ABOUT: &str = "Copy files/folders between a container and the local filesystem";
    const USAGE: &str =
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tstrata cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata cp"))
    }
}
