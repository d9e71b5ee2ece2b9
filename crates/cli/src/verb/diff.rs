//! `strata diff`: inspect changes to files or directories on a container's filesystem.

use crate::verb::prelude::*;
use strata_engine::container::ChangeKind;

/// What `strata diff` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Inspect changes to files or directories on a container's filesystem";
    const USAGE: &str = "CONTAINER";

    fn run(self, session: &mut Session) -> Result<Exit> {
        for change in session.engine()?.diff(&self.container)? {
            let kind = match change.kind {
                ChangeKind::Changed => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            write!(session.out, "{kind} /")?;
            session.out.write_all(change.path.as_bytes())?;
            session.out.write_all(b"\n")?;
        }
        Ok(Exit::SUCCESS)
    }
}
