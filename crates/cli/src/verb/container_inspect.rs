//! `strata container inspect`: display detailed information on one or more containers.

use crate::verb::inspect;
use crate::verb::prelude::*;

/// What `strata container inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// Show values that look like secrets
    #[arg(long)]
    pub reveal: bool,
    /// Display total file sizes
    #[arg(short = 's', long)]
    pub size: bool,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let find = |name: &str| Ok(engine.inspect_container(&engine.container(name)?, self.size)?);
        let how = inspect::How { format: self.format.as_deref(), reveal: self.reveal, of: None };
        inspect::show(session, how, &self.containers, find)
    }
}
