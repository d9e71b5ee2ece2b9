//! `strata exec`: execute a command in a running container.

use strata_engine::container::ExecRequest;
use strata_types::ErrorClass;

use crate::container::foreground::{Front, Streams, size, start_failure};
use crate::container::request;
use crate::opts::environment::{self, Variable};
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
    #[arg(short = 'e', long, value_name = "list", value_parser = environment::parse)]
    pub env: Vec<Variable>,
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

    fn run(self, session: &mut Session) -> Result<Exit> {
        let front = Front {
            stdin: self.interactive && !self.detach,
            stdout: !self.detach,
            stderr: !self.detach,
            tty: self.tty,
            proxy_signals: false,
            detach_keys: Front::keys(self.detach_keys.as_deref())?,
        };
        front.check(session)?;
        let engine = session.engine()?;
        let known = engine.container(&self.container)?;
        let request = ExecRequest {
            env: request::environment(session, &self.env, &self.env_file)?,
            args: self.command,
            tty: self.tty,
            interactive: front.stdin,
            user: self.user,
            workdir: self.workdir.filter(|dir| !dir.is_empty()),
            privileged: self.privileged,
            size: if self.tty { size(session) } else { None },
        };
        let streams = Streams::of_process();
        let attach = if self.detach { None } else { Some(front.attach(session, &streams)?) };
        let started = engine.exec(&known, request, attach).map_err(|error| {
            // Docker says 126 of everything that keeps a program from running in a container that runs; who does not wait
            // for the program does not hear of it.
            let is_of_the_program = error.class() != ErrorClass::Conflict;
            let failure = start_failure(error);
            match failure.exit {
                _ if self.detach => failure.exit(Exit::FAILURE),
                Some(Exit::ENGINE) if is_of_the_program => failure.exit(Exit::NOT_EXECUTABLE),
                Some(Exit::ENGINE) => failure.exit(Exit::FAILURE),
                _ => failure,
            }
        })?;
        let Some(attached) = started.session else { return Ok(Exit::SUCCESS) };
        Ok(front.stay(session, attached, &streams)?.unwrap_or(Exit::SUCCESS))
    }
}
