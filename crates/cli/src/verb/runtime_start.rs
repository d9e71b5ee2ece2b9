//! `strata runtime start`: start a created container.

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime start` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Execute the program of a created container";
    const USAGE: &str = "ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        for warning in runtime::open(session)?.start(&self.id)? {
            runtime::warn(&warning.to_string(), session);
        }
        Ok(Exit::SUCCESS)
    }
}
