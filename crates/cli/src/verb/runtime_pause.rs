//! `strata runtime pause`: keep all processes of a container still.

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime pause` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Keep all processes of a container still";
    const USAGE: &str = "ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        runtime::open(session)?.pause(&self.id)?;
        Ok(Exit::SUCCESS)
    }
}
