//! `strata wait`: block until one or more containers stop, then print their exit codes.

use crate::operands;
use crate::verb::prelude::*;

/// What `strata wait` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Block until one or more containers stop, then print their exit codes";
    const USAGE: &str = "CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.containers, |session, name| {
            let code = engine.wait_container(&engine.container(name)?)?;
            writeln!(session.out, "{code}")?;
            Ok(session.out.flush()?)
        })
    }
}
