//! `strata volume rm`: remove one or more volumes.

use crate::operands;
use crate::verb::prelude::*;

/// What `strata volume rm` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Force the removal of one or more volumes
    #[arg(short = 'f', long)]
    pub force: bool,
    /// The volumes
    #[arg(required = true)]
    pub volumes: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more volumes";
    const USAGE: &str = "[OPTIONS] VOLUME [VOLUME...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.volumes, |session, name| {
            engine.remove_volume(name, self.force)?;
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
