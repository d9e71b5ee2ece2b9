//! `strata runtime resume`: let the processes of a paused container go on.

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime resume` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Let the processes of a paused container go on";
    const USAGE: &str = "ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        runtime::open(session)?.resume(&self.id)?;
        Ok(Exit::SUCCESS)
    }
}
