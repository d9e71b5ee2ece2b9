//! `strata network disconnect`: disconnect a container from a network.

use crate::verb::prelude::*;

/// What `strata network disconnect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Force the container to disconnect from a network
    #[arg(short = 'f', long)]
    pub force: bool,
    /// The network
    pub network: String,
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Disconnect a container from a network";
    const USAGE: &str = "[OPTIONS] NETWORK CONTAINER";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        engine.disconnect_network(&engine.network(&self.network)?, &engine.container(&self.container)?)?;
        Ok(Exit::SUCCESS)
    }
}
