//! `strata tag`: create a tag TARGET_IMAGE that refers to SOURCE_IMAGE.

use crate::verb::prelude::*;

/// What `strata tag` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to take
    pub source: String,
    /// The new name
    pub target: String,
}

impl Verb for Args {
    const ABOUT: &str = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE";
    const USAGE: &str = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata tag"))
    }
}
