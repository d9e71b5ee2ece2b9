//! `strata snapshot rm`: remove snapshots.

use crate::operands;
use crate::verb::prelude::*;

/// What `strata snapshot rm` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The snapshots
    #[arg(required = true)]
    pub snapshots: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more snapshots";
    const USAGE: &str = "SNAPSHOT [SNAPSHOT...]";
    const EXAMPLES: &str =
        "  strata snapshot rm web:clean             Forget a snapshot; containers forked from it stay";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.snapshots, |session, name| {
            engine.remove_snapshot(&engine.snapshot_named(name)?)?;
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
