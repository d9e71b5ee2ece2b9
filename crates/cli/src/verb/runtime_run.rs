//! `strata runtime run`: create, start, wait for and delete a container.

use std::os::fd::AsFd as _;

use strata_runtime::oci;

use super::runtime;
use super::runtime_create::Bundle;
use crate::verb::prelude::*;

/// What `strata runtime run` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle and how its process is made
    #[command(flatten)]
    pub bundle: Bundle,
    /// Detach from the container's process
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// Do not delete the container after it exits
    #[arg(long)]
    pub keep: bool,
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Create a container, start it, and delete it when it has ended";
    const USAGE: &str = "[OPTIONS] ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        runtime::seal()?;
        let console = self.bundle.console()?;
        let created = self.bundle.create(&self.id, console.as_ref(), !self.detach, session)?;
        let runtime = runtime::open(session)?;
        let started = runtime.start(&self.id);
        if started.is_err() {
            // Nothing of it stays; why it could not be started is what matters.
            drop(runtime.delete(&self.id, true));
        }
        for warning in started? {
            runtime::warn(&warning.to_string(), session);
        }
        if self.detach {
            return Ok(Exit::SUCCESS);
        }
        let ended = oci::stay(created.pidfd.as_fd(), created.terminal)?;
        if !self.keep {
            for warning in runtime.delete(&self.id, true)? {
                runtime::warn(&warning.to_string(), session);
            }
        }
        Ok(Exit::with(ended as u8))
    }
}
