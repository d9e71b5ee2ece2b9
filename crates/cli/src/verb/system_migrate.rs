//! `strata system migrate`: move the store to another storage driver.

use strata_engine::system::Migrated;
use strata_types::{ErrorClass, Silent};

use crate::format::count::counted;
use crate::verb::prelude::*;

/// What `strata system migrate` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The storage driver
    pub driver: String,
}

/// The store's own driver may be on another one's way out, too.
const GIVE_UP: &str =
    "`strata system migrate` to the driver that the store has gives up, and removes what was made of the other";

impl Verb for Args {
    const ABOUT: &str = "Move the store to another storage driver";
    const USAGE: &str = "DRIVER";
    const EXAMPLES: &str = "  strata system migrate overlay            Make all layers again as `overlay` keeps them
  strata info                              Shows which drivers work here

Interrupted, it goes on when it is said again, and is given up when the store's own driver is said.
Containers move along, and have to be stopped first.";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let Migrated { from, to, layers } =
            engine.migrate(&self.driver, &Silent).map_err(|error| match error.class() {
                ErrorClass::Exhausted => Failure::from(error).hint(GIVE_UP),
                _ => Failure::from(error),
            })?;
        match from == to {
            true => writeln!(session.out, "the store is with {to}")?,
            false => writeln!(session.out, "moved {} from {from} to {to}", counted(layers, "layer"))?,
        }
        Ok(Exit::SUCCESS)
    }
}
