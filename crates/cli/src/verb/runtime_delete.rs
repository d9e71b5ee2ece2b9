//! `strata runtime delete`: remove a container.

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime delete` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill the container first if it still runs; one that is not there is no failure
    #[arg(short = 'f', long)]
    pub force: bool,
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Remove a container that has stopped";
    const USAGE: &str = "[OPTIONS] ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        for warning in runtime::open(session)?.delete(&self.id, self.force)? {
            runtime::warn(&warning.to_string(), session);
        }
        Ok(Exit::SUCCESS)
    }
}
