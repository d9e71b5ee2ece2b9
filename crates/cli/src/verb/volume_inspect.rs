//! `strata volume inspect`: display detailed information on one or more volumes.

use serde_json::{Value as Json, json};

use crate::format;
use crate::operands;
use crate::verb::prelude::*;

/// What `strata volume inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// The volumes
    #[arg(required = true)]
    pub volumes: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more volumes";
    const USAGE: &str = "[OPTIONS] VOLUME [VOLUME...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let mut things: Vec<Json> = Vec::new();
        let exit = operands::each(session, &self.volumes, |_, name| {
            let volume = engine.volume(name)?;
            let record = &volume.record;
            let options = if record.options.is_empty() { Json::Null } else { json!(record.options) };
            things.push(json!({
                "CreatedAt": record.created.to_string(), "Driver": record.driver, "Labels": record.labels,
                "Mountpoint": volume.mountpoint, "Name": record.name, "Options": options, "Scope": "local",
            }));
            Ok(())
        })?;
        session.out.write_all(format::inspect(self.format.as_deref(), &things)?.as_bytes())?;
        Ok(exit)
    }
}
