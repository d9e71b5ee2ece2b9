//! `strata network rm`: remove one or more networks.

use strata_types::ErrorClass;

use crate::operands;
use crate::verb::prelude::*;

/// What `strata network rm` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not error if the network does not exist
    #[arg(short = 'f', long)]
    pub force: bool,
    /// The networks
    #[arg(required = true)]
    pub networks: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more networks";
    const USAGE: &str = "NETWORK [NETWORK...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.networks, |session, name| {
            match engine.network(name) {
                Err(error) if self.force && error.class() == ErrorClass::NotFound => return Ok(()),
                found => engine.remove_network(&found?)?,
            }
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
