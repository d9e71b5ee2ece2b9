//! `strata network inspect`: display detailed information on one or more networks.

use crate::verb::inspect;
use crate::verb::prelude::*;

/// What `strata network inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// Verbose output for diagnostics
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// The networks
    #[arg(required = true)]
    pub networks: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more networks";
    const USAGE: &str = "[OPTIONS] NETWORK [NETWORK...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let how = inspect::How { format: self.format.as_deref(), reveal: true, of: None };
        inspect::show(session, how, &self.networks, |name| Ok(engine.inspect_network(&engine.network(name)?)?))
    }
}
