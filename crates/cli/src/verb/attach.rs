//! `strata attach`: attach local standard input, output, and error streams to a running container.

use crate::verb::prelude::*;

/// What `strata attach` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    pub no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, default_value = "true")]
    pub sig_proxy: bool,
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Attach local standard input, output, and error streams to a running container";
    const USAGE: &str = "[OPTIONS] CONTAINER";

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata attach"))
    }
}
