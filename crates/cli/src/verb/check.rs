//! `strata check`: checks the store and says what is wrong.

use crate::verb::prelude::*;

/// What `strata check` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Repair what can be repaired
    #[arg(long)]
    pub repair: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Check the store and say what is wrong";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata check"))
    }
}
