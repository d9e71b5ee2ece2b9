//! `strata logout`: log out from a registry.

use super::login::{DEFAULT, DEFAULT_URL, registry_of};
use crate::verb::prelude::*;

/// What `strata logout` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The registry
    pub server: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Log out from a registry";
    const USAGE: &str = "[SERVER]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let host = registry_of(self.server.as_deref());
        let shown = if host == DEFAULT { DEFAULT_URL } else { &host };
        let engine = session.engine()?;
        engine.logout(&host)?;
        writeln!(session.out, "Removing login credentials for {shown}")?;
        Ok(Exit::SUCCESS)
    }
}
