//! `strata manifest rm`: delete one or more manifest lists from local storage.

use strata_types::Reference;

use crate::operands;
use crate::verb::prelude::*;

/// What `strata manifest rm` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lists
    #[arg(required = true)]
    pub lists: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Delete one or more manifest lists from local storage";
    const USAGE: &str = "MANIFEST_LIST [MANIFEST_LIST...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.lists, |_, name| {
            Ok(engine.remove_manifest_list(&name.parse::<Reference>()?.or_latest())?)
        })
    }
}
