//! `strata runtime features`: print what the runtime can do.

use strata_runtime::oci;

use crate::verb::prelude::*;

/// What `strata runtime features` understands.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Verb for Args {
    const ABOUT: &str = "Print what the runtime can do, as the OCI features document";
    const USAGE: &str = "";

    fn run(self, session: &mut Session) -> Result<Exit> {
        writeln!(session.out, "{}", serde_json::to_string_pretty(&oci::features())?)?;
        Ok(Exit::SUCCESS)
    }
}
