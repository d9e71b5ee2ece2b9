//! `strata top`: display the running processes of a container.

use crate::verb::prelude::*;

/// What `strata top` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub container: String,
    /// Options for `ps`
    pub ps_options: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display the running processes of a container";
    const USAGE: &str = "CONTAINER [ps OPTIONS]";
    const OPTIONS_END_AT_NAME: bool = true;

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata top"))
    }
}
