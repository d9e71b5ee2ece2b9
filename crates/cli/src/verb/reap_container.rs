//! `strata reap-container`: what a shim starts when a `--rm` container has ended and nobody waits for it.

use crate::verb::prelude::*;

/// What `strata reap-container` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Remove a container that has ended";
    const USAGE: &str = "ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        session.engine()?.reap_container(&self.id)?;
        Ok(Exit::SUCCESS)
    }
}
