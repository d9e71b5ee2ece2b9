//! `strata stop`: stop one or more running containers.

use crate::operands;
use crate::verb::prelude::*;
use crate::verb::stop_options::StopOptions;

/// What `strata stop` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Signal to send to the container
    #[arg(short = 's', long)]
    pub signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(short = 't', long, value_name = "int")]
    pub time: Option<i64>,
    /// Stop all that runs before the machine goes down; `start --boot` knows what ran
    #[arg(long, conflicts_with_all = ["signal", "time", "containers"])]
    pub boot: bool,
    /// The containers
    #[arg(required_unless_present = "boot")]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Stop one or more running containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        if self.boot {
            let engine = session.engine()?;
            return operands::each(session, engine.end_all()?, |session, known| {
                engine.wait_for_end(&known)?;
                Ok(writeln!(session.out, "{}", known.record.name)?)
            });
        }
        let stop = StopOptions { signal: self.signal, time: self.time, containers: self.containers };
        stop.each(session, "cannot stop container:", |engine, container, stop| {
            Ok(engine.stop_container(container, stop)?)
        })
    }
}
