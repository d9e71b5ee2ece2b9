//! `strata system migrate`: move the store to another storage driver.

use strata_engine::system::Migrated;
use strata_types::Silent;

use crate::format::count::counted;
use crate::verb::prelude::*;

/// What `strata system migrate` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The storage driver
    pub driver: String,
}

impl Verb for Args {
    const ABOUT: &str = "Move the store to another storage driver";
    const USAGE: &str = "DRIVER";
    const EXAMPLES: &str = "  strata system migrate overlay            Make all layers again as `overlay` keeps them
  strata info                              Shows which drivers work here

Interrupted, it goes on when it is said again. Containers move along, and have to be stopped first.";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let Migrated { from, to, layers } = session.engine()?.migrate(&self.driver, &Silent)?;
        match from == to {
            true => writeln!(session.out, "the store is with {to}")?,
            false => writeln!(session.out, "moved {} from {from} to {to}", counted(layers, "layer"))?,
        }
        Ok(Exit::SUCCESS)
    }
}
