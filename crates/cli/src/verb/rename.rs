//! `strata rename`: rename a container.

use crate::operands;
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

    fn run(self, session: &mut Session) -> Result<Exit> {
        let new = self.new_name.trim();
        if new.is_empty() || self.container.trim().is_empty() {
            return Err(Failure::new("Neither old nor new names may be empty"));
        }
        let engine = session.engine()?;
        let exit = operands::each(session, [&self.container], |_, name| {
            Ok(engine.rename_container(&engine.container(name)?, new)?)
        })?;
        if exit == Exit::FAILURE {
            return Err(Failure::new(format!("failed to rename container named {}", self.container)));
        }
        Ok(exit)
    }
}
