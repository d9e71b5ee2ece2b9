//! What `stop` and `restart` have in common: which containers, and how to end them.

use strata_engine::Engine;
use strata_engine::container::{Known, Stop};

use crate::operands;
use crate::opts;
use crate::verb::prelude::*;

/// How to stop which containers.
#[derive(Debug, clap::Args)]
pub struct StopOptions {
    /// Signal to send to the container
    #[arg(short = 's', long)]
    pub signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short = 't', long, value_name = "int")]
    pub time: Option<i64>,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl StopOptions {
    /// Does `act` to each container and prints its name; `wrong` is what precedes the name where the signal is none.
    pub(super) fn each(
        self,
        session: &mut Session,
        wrong: &str,
        act: impl Fn(&Engine, &Known, Stop) -> Result<()>,
    ) -> Result<Exit> {
        let engine = session.engine()?;
        operands::each(session, &self.containers, |session, name| {
            let known = engine.container(name)?;
            let signal = self.signal.as_deref().map(opts::signal::parse).transpose();
            let signal = signal.map_err(|invalid| Failure::from(invalid).within(format!("{wrong} {name}")))?;
            act(&engine, &known, Stop { signal, timeout_s: self.time })?;
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
