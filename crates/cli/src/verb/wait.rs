//! `strata wait`: block until one or more containers stop, then print their exit codes.

use strata_runtime::Condition;

use crate::operands;
use crate::verb::prelude::*;

/// What `strata wait` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to wait for: "not-running", "next-exit" or "removed"
    #[arg(long, default_value = "not-running")]
    pub condition: String,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Block until one or more containers stop, then print their exit codes";
    const USAGE: &str = "CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let condition = match self.condition.as_str() {
            "not-running" => Condition::NotRunning,
            "next-exit" => Condition::NextExit,
            "removed" => Condition::Removed,
            other => return Err(Failure::new(format!("invalid condition: {other:?}"))),
        };
        let engine = session.engine()?;
        operands::each(session, &self.containers, |session, name| {
            let code = engine.wait_container(&engine.container(name)?, condition)?;
            writeln!(session.out, "{code}")?;
            Ok(session.out.flush()?)
        })
    }
}
