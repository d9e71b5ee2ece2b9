//! `strata import`: import the contents from a tarball to create a filesystem image.

use crate::verb::prelude::*;

/// What `strata import` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Apply Dockerfile instruction to the created image
    #[arg(short = 'c', long, value_name = "list")]
    pub change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short = 'm', long)]
    pub message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    pub platform: Option<String>,
    /// What to take
    pub source: String,
    /// The image
    pub image: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Import the contents from a tarball to create a filesystem image";
    const USAGE: &str = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata import"))
    }
}
