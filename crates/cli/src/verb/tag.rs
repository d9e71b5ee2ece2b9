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
        name(&self.source)?;
        session.engine()?.tag(&self.source, &name(&self.target)?)?;
        Ok(Exit::SUCCESS)
    }
}

fn name(text: &str) -> Result<Reference> {
    let invalid = |error: ReferenceError| {
        Failure::from(error).within(format!("Error parsing reference: {text:?} is not a valid repository/tag"))
    };
    text.parse().map_err(invalid)
}
