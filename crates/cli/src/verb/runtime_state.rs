//! `strata runtime state`: print what a container is doing.

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime state` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Print the state of a container";
    const USAGE: &str = "ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let state = runtime::open(session)?.state(&self.id)?;
        writeln!(session.out, "{}", serde_json::to_string_pretty(&state)?)?;
        Ok(Exit::SUCCESS)
    }
}
