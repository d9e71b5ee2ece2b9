//! `strata stop`: stop one or more running containers.

use crate::verb::prelude::*;
use crate::verb::stop_options::StopOptions;

/// What `strata stop` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to stop which containers
    #[command(flatten)]
    pub stop: StopOptions,
}

impl Verb for Args {
    const ABOUT: &str = "Stop one or more running containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        self.stop.each(session, |engine, container, stop| Ok(engine.stop_container(container, stop)?))
    }
}
