//! `strata update`: update configuration of one or more containers.

use strata_engine::container::LimitsChange;

use crate::container::limits::ContainerLimits;
use crate::container::request;
use crate::operands;
use crate::verb::prelude::*;

/// What `strata update` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What it may take.
    #[command(flatten)]
    pub limits: ContainerLimits,
    /// Restart policy to apply when a container exits
    #[arg(long)]
    pub restart: Option<String>,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Update configuration of one or more containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let restart_policy = self.restart.as_deref().map(request::restart_policy).transpose()?;
        if restart_policy.is_none() && !self.limits.is_any_given() {
            return Err(Failure::new("you must provide one or more flags when using this command"));
        }
        // A limit of 0 is none given: what is there stays.
        let change = LimitsChange { resources: self.limits.resources(), restart_policy };
        let engine = session.engine()?;
        operands::each(session, &self.containers, |session, name| {
            change.check()?;
            let known = engine.container(name)?;
            let warnings = engine
                .update_container(&known, &change)
                .map_err(|error| Failure::from(error).within(format!("Cannot update container {}", known.id())))?;
            for warning in warnings {
                writeln!(session.err, "WARNING: {warning}")?;
            }
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}
