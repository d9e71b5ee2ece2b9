//! `strata runtime create`: make a container from a bundle.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use strata_runtime::oci::CreateOptions;

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime create` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle and how its process is made
    #[command(flatten)]
    pub bundle: Bundle,
    /// The container's id
    pub id: String,
}

/// What is said of a bundle and of its first process.
#[derive(Debug, clap::Args)]
pub struct Bundle {
    /// Path to the bundle directory, defaults to the current directory
    #[arg(short = 'b', long, value_name = "path")]
    pub bundle: Option<PathBuf>,
    /// Path to a socket which will receive the container's terminal
    #[arg(long, value_name = "path")]
    pub console_socket: Option<PathBuf>,
    /// File to write the process id to
    #[arg(long, value_name = "path")]
    pub pid_file: Option<PathBuf>,
    /// Do not use pivot root to jail the process inside the root filesystem
    #[arg(long)]
    pub no_pivot: bool,
    /// Do not create a new session keyring for the container
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass so many additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)
    #[arg(long, value_name = "number", default_value = "0")]
    pub preserve_fds: u32,
}

impl Verb for Args {
    const ABOUT: &str = "Create a container from a bundle";
    const USAGE: &str = "[OPTIONS] ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        runtime::seal()?;
        let console = self.bundle.console()?;
        let created = self.bundle.create(&self.id, console.as_ref(), false, session)?;
        drop(created);
        Ok(Exit::SUCCESS)
    }
}

impl Bundle {
    /// Connects to who takes the terminal.
    pub(super) fn console(&self) -> Result<Option<UnixStream>> {
        connect(self.console_socket.as_deref())
    }

    /// Makes the container; with `keeps_terminal` its terminal may come back.
    pub(super) fn create(
        &self,
        id: &str,
        console: Option<&UnixStream>,
        keeps_terminal: bool,
        session: &mut Session,
    ) -> Result<strata_runtime::oci::Created> {
        let bundle = match &self.bundle {
            Some(path) => session.cwd()?.join(path),
            None => session.cwd()?,
        };
        let options = CreateOptions {
            console: console.map(std::os::fd::AsFd::as_fd),
            pid_file: self.pid_file.as_ref().map(std::path::absolute).transpose()?,
            descriptors: descriptors(self.preserve_fds, session)?,
            listening: listening(session),
            pivot: !self.no_pivot,
            new_keyring: !self.no_new_keyring,
            takes_terminal: keeps_terminal && console.is_none(),
        };
        let created = runtime::open(session)?.create(id, &bundle, &options)?;
        for warning in &created.warnings {
            runtime::warn(warning, session);
        }
        Ok(created)
    }
}

/// Connects to who takes a terminal.
pub(super) fn connect(socket: Option<&std::path::Path>) -> Result<Option<UnixStream>> {
    let connect = |path: &std::path::Path| {
        UnixStream::connect(path)
            .map_err(|error| Failure::new(format!("cannot connect to the console socket {}: {error}", path.display())))
    };
    socket.map(connect).transpose()
}

/// How many sockets whoever started us hands over.
fn listening(session: &Session) -> u32 {
    session.variable("LISTEN_FDS").and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// How many descriptors from 3 on are the program's; all of them must be open.
pub(super) fn descriptors(asked: u32, session: &Session) -> Result<u32> {
    let all = asked.saturating_add(listening(session));
    for number in (3..).take(all as usize) {
        if !std::path::Path::new(&format!("/proc/self/fd/{number}")).exists() {
            return Err(Failure::new(format!("unable to pass fd {number}: it is not open")));
        }
    }
    Ok(all)
}
