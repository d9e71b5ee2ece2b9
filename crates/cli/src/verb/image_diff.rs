//! `strata image diff`: inspect how images differ.

use crate::progress::{Progress, Show};
use crate::verb::diff::show;
use crate::verb::prelude::*;

/// What `strata image diff` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image
    pub image: String,
    /// What to compare it with; without, all its layers but the uppermost
    pub older: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Inspect changes to files or directories from another image, or in the uppermost layer";
    const USAGE: &str = "IMAGE [IMAGE]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let progress = Progress::start(session, Show::Nowhere)?;
        let changes = engine.compare_images(&self.image, self.older.as_deref(), &progress);
        progress.finish();
        show(&changes?, &mut session.out)?;
        Ok(Exit::SUCCESS)
    }
}
