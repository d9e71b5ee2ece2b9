//! `strata inspect`: return low-level information on Docker objects.

use crate::verb::prelude::*;

/// What `strata inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short = 's', long)]
    pub size: bool,
    /// Return JSON for specified type
    #[arg(long = "type")]
    pub kind: Option<String>,
    /// Containers or images
    #[arg(required = true)]
    pub names: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Return low-level information on strata objects";
    const USAGE: &str = "[OPTIONS] NAME|ID [NAME|ID...]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata inspect"))
    }
}
