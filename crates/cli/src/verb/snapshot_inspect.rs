//! `strata snapshot inspect`: display detailed information on one or more snapshots.

use serde_json::{Value as Json, json};
use strata_engine::Engine;

use crate::format;
use crate::operands;
use crate::verb::prelude::*;

/// What `strata snapshot inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
    /// The snapshots
    #[arg(required = true)]
    pub snapshots: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display detailed information on one or more snapshots";
    const USAGE: &str = "[OPTIONS] SNAPSHOT [SNAPSHOT...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let mut found = Vec::new();
        let exit = operands::each(session, &self.snapshots, |_, name| {
            found.push(describe(&engine, name)?);
            Ok(())
        })?;
        session.out.write_all(format::inspect(self.format.as_deref(), &found)?.as_bytes())?;
        Ok(exit)
    }
}

fn describe(engine: &Engine, name: &str) -> Result<Json> {
    let wanted = engine.snapshot_named(name)?;
    let nodes = engine.snapshot_nodes()?;
    let node = nodes.iter().find(|node| node.record.id == wanted.id);
    let node = node.ok_or_else(|| Failure::new(format!("No such snapshot: {name}")))?;
    let record = &node.record;
    let name_of = |id: &strata_types::SnapshotId| {
        nodes.iter().find(|node| node.record.id == *id).map(strata_engine::checkpoint::Node::full_name)
    };
    let layers: Vec<String> = record.layers.iter().map(ToString::to_string).collect();
    Ok(json!({
        "Id": record.id.as_str(), "Name": record.name, "Comment": record.comment,
        "Created": record.created.to_string(), "Size": record.size_bytes,
        "Container": {"Id": record.container.as_str(), "Name": node.container_name},
        "Parent": record.parent.as_ref().and_then(name_of).unwrap_or_default(),
        "Children": node.children.iter().filter_map(name_of).collect::<Vec<_>>(),
        "Current": node.is_current, "Forks": node.forks,
        "Image": {"Id": record.image.to_string(), "Name": record.image_name},
        "RootFS": {"Type": "layers", "Layers": layers},
    }))
}
