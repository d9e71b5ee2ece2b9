//! `strata unpause`: unpause all processes within one or more containers.

use crate::operands;
use crate::verb::prelude::*;

/// What `strata unpause` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Unpause all processes within one or more containers";
    const USAGE: &str = "CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.containers, |session, name| {
            engine.unpause_container(&engine.container(name)?)?;
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
