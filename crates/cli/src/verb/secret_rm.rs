//! `strata secret rm`: remove one or more secrets.

use crate::operands;
use crate::verb::prelude::*;

/// What `strata secret rm` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The secrets
    #[arg(required = true)]
    pub secrets: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove one or more secrets";
    const USAGE: &str = "SECRET [SECRET...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.secrets, |session, name| {
            engine.remove_secret(name)?;
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
