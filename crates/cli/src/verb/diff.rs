//! `strata diff`: inspect changes to files or directories on a container's filesystem.

use crate::verb::prelude::*;
use strata_engine::container::{Change, ChangeKind};

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
        let changes = session.engine()?.diff(&self.container)?;
        show(&changes, &mut session.out)?;
        Ok(Exit::SUCCESS)
    }
}

/// Prints changes, a line for each.
pub fn show(changes: &[Change], out: &mut dyn Write) -> std::io::Result<()> {
    for change in changes {
        let kind = match change.kind {
            ChangeKind::Changed => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        write!(out, "{kind} /")?;
        out.write_all(change.path.as_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
