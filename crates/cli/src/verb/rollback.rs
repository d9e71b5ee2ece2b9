//! `strata rollback CONTAINER NAME`: put a container back to a snapshot.

use std::time::Duration;

use strata_engine::checkpoint::Rollback;

use crate::verb::prelude::*;

/// What `strata rollback` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Start the container even if it did not run
    #[arg(long)]
    pub start: bool,
    /// Seconds that its processes have to end by themselves (default: killed at once)
    #[arg(short = 't', long, value_name = "int")]
    pub time: Option<u64>,
    /// The container
    pub container: String,
    /// The snapshot
    pub snapshot: String,
}

impl Verb for Args {
    const ABOUT: &str = "Put a container back to a snapshot of its files";
    const USAGE: &str = "[OPTIONS] CONTAINER NAME";
    const EXAMPLES: &str = "  strata snapshot web clean    Keep what the files are now
  strata rollback web clean    Undo everything since; the container's process is started anew
  strata rollback web 4f2a     Any other snapshot, by the first digits of its ID

What the container wrote since is gone, unless it is in another snapshot. Volumes stay as they are.";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let known = engine.container(&self.container)?;
        let snapshot = engine.snapshot_of(&known, &self.snapshot)?;
        let how = Rollback { grace: self.time.map(Duration::from_secs), start: self.start };
        let rolled_back = engine.rollback(&known, &snapshot, how)?;
        for warning in rolled_back.started.map(|started| started.warnings).unwrap_or_default() {
            writeln!(session.err, "WARNING: {warning}")?;
        }
        writeln!(session.out, "{}", self.container)?;
        Ok(Exit::SUCCESS)
    }
}
