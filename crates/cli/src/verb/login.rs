//! `strata login`: log in to a registry.

use crate::verb::prelude::*;

/// What `strata login` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Password
    #[arg(short = 'p', long)]
    pub password: Option<String>,
    /// Take the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// Username
    #[arg(short = 'u', long)]
    pub username: Option<String>,
    /// The registry
    pub server: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Log in to a registry";
    const USAGE: &str = "[OPTIONS] [SERVER]";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata login"))
    }
}
