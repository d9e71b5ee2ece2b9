//! `strata exec`: execute a command in a running container.

use crate::verb::prelude::*;

/// What `strata exec` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Detached mode: run command in the background
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short = 'e', long, value_name = "list")]
    pub env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    pub env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short = 'i', long)]
    pub interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    pub privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short = 'u', long)]
    pub user: Option<String>,
    /// Working directory inside the container
    #[arg(short = 'w', long)]
    pub workdir: Option<String>,
    /// The container
    pub container: String,
    /// The command and its arguments
    #[arg(required = true)]
    pub command: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Execute a command in a running container";
    const USAGE: &str = "[OPTIONS] CONTAINER COMMAND [ARG...]";
    const OPTIONS_END_AT_NAME: bool = true;

    fn run(self, _session: &mut Session) -> Result<Exit> {
        Err(Failure::absent("strata exec"))
    }
}
