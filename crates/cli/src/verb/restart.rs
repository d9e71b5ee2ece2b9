//! `strata restart`: restart one or more containers.

use crate::verb::prelude::*;
use crate::verb::stop_options::StopOptions;

/// What `strata restart` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to stop which containers
    #[command(flatten)]
    pub stop: StopOptions,
}

impl Verb for Args {
    const ABOUT: &str = "Restart one or more containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        self.stop.each(session, "Cannot restart container", |engine, container, stop| {
            engine.restart_container(container, stop)?;
            Ok(())
        })
    }
}
