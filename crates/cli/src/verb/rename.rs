//! `strata rename`: rename a container.

use crate::verb::prelude::*;

/// What `strata rename` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub container: String,
    /// The new name
    pub new_name: String,
}

impl Verb for Args {
    const ABOUT: &str = "Rename a container";
    const USAGE: &str = "CONTAINER NEW_NAME";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata rename"))
    }
}
