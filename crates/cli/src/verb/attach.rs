//! `strata attach`: attach local standard input, output, and error streams to a running container.

use strata_engine::container::Remove;
use strata_runtime::Status;

use crate::container::foreground::{Front, Streams};
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

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let known = engine.container(&self.container)?;
        match engine.container_state(&known)?.status {
            Status::Running => {}
            Status::Restarting => {
                return Err(Failure::new("You cannot attach to a restarting container, wait until it is running"));
            }
            Status::Paused => return Err(Failure::new("You cannot attach to a paused container, unpause it first")),
            _ => return Err(Failure::new("You cannot attach to a stopped container, start it first")),
        }
        let config = &known.document.config;
        let front = Front {
            stdin: !self.no_stdin && config.open_stdin,
            stdout: true,
            stderr: true,
            tty: config.tty,
            proxy_signals: self.sig_proxy,
            detach_keys: Front::keys(self.detach_keys.as_deref())?,
        };
        front.check(session)?;
        let streams = Streams::of_process();
        engine.record_event(strata_engine::events::of(&known, "attach"));
        let attached = engine.process(known.id()).attach(front.attach(session, &streams)?)?;
        let Some(exit) = front.stay(session, attached, &streams)? else { return Ok(Exit::SUCCESS) };
        // The client that started it may be gone.
        if known.document.host.auto_remove {
            engine.remove_container(&known, Remove { force: true, volumes: true })?;
        }
        Ok(exit)
    }
}
