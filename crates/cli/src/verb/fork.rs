//! `strata fork CONTAINER NEW...`: start further containers from a container's files.

use strata_engine::checkpoint::{ForkWish, SnapshotWish};

use crate::operands;
use crate::progress::{Progress, Show};
use crate::verb::Starts;
use crate::verb::prelude::*;

/// What `strata fork` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Create the containers without starting them
    #[arg(long)]
    pub no_start: bool,
    /// The container, or a snapshot of it
    pub origin: String,
    /// The new containers' names
    #[arg(required = true)]
    pub names: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Start new containers from a container's files, or from a snapshot";
    const USAGE: &str = "[OPTIONS] CONTAINER|SNAPSHOT NEW [NEW...]";
    const STARTS: Starts = Starts::Known;
    const EXAMPLES: &str =
        "  strata fork db test-1 test-2        Take a snapshot of db and start two containers from it
  strata fork db:seeded test-3        Start one from the snapshot `seeded` of db
  strata fork --no-start db later     Make it, but do not start it

The new containers have the other's settings, but their own name, host name, anonymous volumes and ports of the host.
They share the snapshot's files: nothing is copied.";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let progress = Progress::start(session, Show::Nowhere)?;
        let found = match engine.container(&self.origin) {
            Ok(known) => {
                let wish = SnapshotWish { name: None, comment: String::new(), pause: true };
                engine.snapshot(&known, &wish, &progress).map(|taken| taken.record)
            }
            Err(error) => engine.snapshot_named(&self.origin).map_err(|_| error),
        };
        progress.finish();
        if !self.no_start {
            engine.expect_starts(session.ahead.take(), self.names.len());
        }
        let forks = engine.fork(&found?, &ForkWish { names: self.names, start: !self.no_start })?;
        operands::each(session, forks, |session, fork| {
            let started = fork.started.transpose()?;
            for warning in started.map(|started| started.warnings).unwrap_or_default() {
                writeln!(session.err, "WARNING: {warning}")?;
            }
            Ok(writeln!(session.out, "{}", fork.known.record.name)?)
        })
    }
}
