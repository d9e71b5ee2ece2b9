//! `strata tag`: create a tag TARGET_IMAGE that refers to SOURCE_IMAGE.

use crate::verb::prelude::*;
use strata_types::reference::{Reference, ReferenceError};

/// What `strata tag` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to take
    pub source: String,
    /// The new name
    pub target: String,
}

impl Verb for Args {
    const ABOUT: &str = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE";
    const USAGE: &str = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let target: Reference = self.target.parse().map_err(|error: ReferenceError| {
            Failure::new(format!("\"{}\" is not a valid repository/tag: {error}", self.target))
        })?;
        session.engine()?.tag(&self.source, &target)?;
        Ok(Exit::SUCCESS)
    }
}
