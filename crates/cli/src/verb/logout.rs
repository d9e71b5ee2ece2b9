//! `strata logout`: log out from a registry.

use crate::verb::prelude::*;

/// What `strata logout` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry
    pub server: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Log out from a registry";
    const USAGE: &str = "[SERVER]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata logout"))
    }
}
