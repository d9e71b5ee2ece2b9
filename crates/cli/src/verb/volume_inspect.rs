//! `strata volume inspect`: display detailed information on one or more volumes.

use jiff::Unit;
use serde_json::{Value as Json, json};
use strata_engine::container::VolumeUse;

use crate::verb::inspect;
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
        let find = |name: &str| Ok(shown(&engine.volume(name)?));
        let how = inspect::How { format: self.format.as_deref(), reveal: true, of: Some("volume.Volume") };
        inspect::show(session, how, &self.volumes, find)
    }
}

/// A volume as Docker shows it.
pub(super) fn shown(volume: &VolumeUse) -> Json {
    let record = &volume.record;
    // To the second, as Docker has it.
    let created = record.created.round(Unit::Second).unwrap_or(record.created);
    let options = if record.options.is_empty() { Json::Null } else { json!(record.options) };
    json!({
        "CreatedAt": created.to_string(), "Driver": record.driver, "Labels": record.labels,
        "Mountpoint": volume.mountpoint, "Name": record.name, "Options": options, "Scope": "local",
    })
}
