//! `strata snapshot ls`: list snapshots as the trees they are.

use std::collections::HashMap;

use serde_json::{Value as Json, json};
use strata_engine::checkpoint::Node;
use strata_types::SnapshotId;

use crate::format::{List, age, size};
use crate::verb::prelude::*;

/// What `strata snapshot ls` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only display snapshot names
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Only snapshots of these containers
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "List snapshots";
    const USAGE: &str = "[OPTIONS] [CONTAINER...]";
    const EXAMPLES: &str =
        "  strata snapshot ls                                   All of them, each below the one it was made on
  strata snapshot ls web                               Those of container web
  strata snapshot ls --format '{{.Name}} {{.Size}}'    Chosen fields

A `*` marks the snapshot that its container stands on.";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let mut wanted = Vec::new();
        for name in &self.containers {
            wanted.push(engine.container(name)?.record.id);
        }
        let mut nodes = engine.snapshot_nodes()?;
        nodes.retain(|node| wanted.is_empty() || wanted.contains(&node.record.container));
        let trees = trees(&nodes);
        let rows: Vec<Json> =
            nodes.iter().zip(trees).map(|(node, tree)| row(session, node, &tree, &nodes, self.no_trunc)).collect();
        let list = List { of: "*snapshot.snapshotContext", columns: COLUMNS, table: TABLE, quiet: "{{.Name}}" };
        session.out.write_all(list.render(self.format.as_deref(), self.quiet, &rows)?.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

const TABLE: &str = "{{.Tree}}\t{{.ID}}\t{{.Created}}\t{{.Size}}\t{{.Forks}}\t{{.Comment}}";

const COLUMNS: &[(&str, &str)] = &[
    ("Tree", "SNAPSHOT"),
    ("Name", "NAME"),
    ("ID", "SNAPSHOT ID"),
    ("Container", "CONTAINER"),
    ("Parent", "PARENT"),
    ("Current", "CURRENT"),
    ("Created", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Forks", "FORKS"),
    ("Comment", "COMMENT"),
];

fn row(session: &Session, node: &Node, tree: &str, nodes: &[Node], whole: bool) -> Json {
    let record = &node.record;
    let parent = nodes.iter().find(|other| Some(&other.record.id) == record.parent.as_ref()).map(Node::full_name);
    json!({
        "Tree": format!("{tree}{}{}", node.full_name(), if node.is_current { " *" } else { "" }),
        "Name": node.full_name(), "ID": if whole { record.id.as_str() } else { record.id.short() },
        "Container": node.container_name, "Parent": parent.unwrap_or_default(), "Current": node.is_current.to_string(),
        "Created": age::ago(record.created, session.now()), "CreatedAt": age::moment(record.created, session.zone()),
        "Size": size::human(record.size_bytes), "Forks": node.forks.join(","), "Comment": record.comment,
    })
}

/// What stands before each name to show whose child it is; the nodes come in the order of the trees.
fn trees(nodes: &[Node]) -> Vec<String> {
    let here = |id: &SnapshotId| nodes.iter().any(|node| node.record.id == *id);
    let parent = |node: &Node| node.record.parent.clone().filter(|parent| here(parent));
    let mut last: HashMap<Option<SnapshotId>, SnapshotId> = HashMap::new();
    for node in nodes {
        last.insert(parent(node), node.record.id.clone());
    }
    let mut stems: HashMap<SnapshotId, String> = HashMap::new();
    let mut shown = Vec::new();
    for node in nodes {
        let id = node.record.id.clone();
        let Some(parent) = parent(node) else {
            stems.insert(id, String::new());
            shown.push(String::new());
            continue;
        };
        let stem = stems.get(&parent).cloned().unwrap_or_default();
        let is_last = last.get(&Some(parent)) == Some(&id);
        shown.push(format!("{stem}{}", if is_last { "└─ " } else { "├─ " }));
        stems.insert(id, format!("{stem}{}", if is_last { "   " } else { "│  " }));
    }
    shown
}
