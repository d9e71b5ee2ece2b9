//! `strata snapshot CONTAINER [NAME]`: keep what a container's files are now.

use strata_engine::checkpoint::SnapshotWish;

use crate::progress::{Progress, Show};
use crate::verb::prelude::*;

/// What `strata snapshot CONTAINER` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A remark about the snapshot
    #[arg(short = 'm', long)]
    pub message: Option<String>,
    /// Pause container while its changes are taken down
    #[arg(short = 'p', long, default_value = "true")]
    pub pause: bool,
    /// The container
    pub container: String,
    /// The snapshot's name
    pub name: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Snapshot a container's files";
    const USAGE: &str = "[OPTIONS] CONTAINER [NAME]";
    const EXAMPLES: &str =
        "  strata snapshot db seeded               Keep what the files of container db are now; it goes on
  strata exec db psql -c 'DROP TABLE t'   … something goes wrong …
  strata rollback db seeded               Put db back to where it was, and start it again
  strata fork db:seeded test-1 test-2     Start two containers that begin there
  strata commit --from db:seeded db:1     Make an image of it
  strata snapshot create ls first         A container whose name is a verb's

Volumes and bind mounts are not part of a snapshot, nor is memory: a container that is put back starts anew.";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let known = engine.container(&self.container)?;
        let wish = SnapshotWish { name: self.name, comment: self.message.unwrap_or_default(), pause: self.pause };
        let progress = Progress::start(session, Show::Nowhere)?;
        let taken = engine.snapshot(&known, &wish, &progress);
        progress.finish();
        let taken = taken?;
        for warning in &taken.warnings {
            writeln!(session.err, "WARNING: {warning}")?;
        }
        writeln!(session.out, "{}:{}", known.record.name, taken.record.name)?;
        Ok(Exit::SUCCESS)
    }
}
