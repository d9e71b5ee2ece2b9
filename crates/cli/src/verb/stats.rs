//! `strata stats`: display a live stream of container(s) resource usage statistics.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};
use strata_engine::Engine;
use strata_engine::container::{Known, Sample};

use crate::format::{List, size};
use crate::verb::prelude::*;

/// What `strata stats` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all containers (default shows just running)
    #[arg(short = 'a', long)]
    pub all: bool,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// The containers
    pub containers: Vec<String>,
}

/// Between two looks: shares of the CPU are those of this time.
const INTERVAL: Duration = Duration::from_secs(1);
/// Goes to the top left and clears the screen.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// The latest samples by container id.
type Samples = BTreeMap<String, Sample>;

impl Verb for Args {
    const ABOUT: &str = "Display a live stream of container(s) resource usage statistics";
    const USAGE: &str = "[OPTIONS] [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let mut before = samples(&engine, &self.chosen(&engine)?)?;
        loop {
            strata_sys::clock::pause(INTERVAL);
            let chosen = self.chosen(&engine)?;
            let now = samples(&engine, &chosen)?;
            let rows: Vec<Json> = chosen.iter().map(|known| self.row(known, &before, &now)).collect();
            let list = List { of: "*container.statsContext", columns: COLUMNS, table: TABLE, quiet: "{{.ID}}" };
            let text = list.render(self.format.as_deref(), false, &rows)?;
            if !self.no_stream && self.format.as_deref().is_none_or(|format| format.starts_with("table")) {
                session.out.write_all(CLEAR.as_bytes())?;
            }
            session.out.write_all(text.as_bytes())?;
            session.out.flush()?;
            if self.no_stream {
                return Ok(Exit::SUCCESS);
            }
            before = now;
        }
    }
}

impl Args {
    /// Those that were named; else those that run, or all.
    fn chosen(&self, engine: &Engine) -> Result<Vec<Known>> {
        if !self.containers.is_empty() {
            return self.containers.iter().map(|name| Ok(engine.container(name)?)).collect();
        }
        let listed = engine.containers()?.into_iter().filter(|listed| self.all || listed.state.status.is_up());
        Ok(listed.map(|listed| listed.known).collect())
    }

    fn row(&self, known: &Known, before: &Samples, now: &Samples) -> Json {
        let id = known.id().as_str();
        let sample = now.get(id).copied().unwrap_or_default();
        let cpu = before.get(id).map_or(0.0, |before| sample.cpu_percent_since(before));
        let shown = if self.no_trunc { id } else { known.id().short() };
        let named = self.containers.iter().find(|name| known.record.name == **name || id.starts_with(name.as_str()));
        json!({
            "BlockIO": format!("{} / {}", size::short(sample.read_bytes), size::short(sample.written_bytes)),
            "CPUPerc": format!("{cpu:.2}%"),
            "Container": named.map_or(shown, String::as_str),
            "ID": shown,
            "MemPerc": format!("{:.2}%", sample.memory_percent()),
            "MemUsage": format!("{} / {}", size::binary(sample.memory_bytes), size::binary(sample.memory_max_bytes)),
            "Name": known.record.name,
            "NetIO": format!("{} / {}", size::short(sample.received_bytes), size::short(sample.sent_bytes)),
            "PIDs": sample.pids.to_string(),
        })
    }
}

fn samples(engine: &Engine, chosen: &[Known]) -> Result<Samples> {
    let mut samples = Samples::new();
    for known in chosen {
        if let Some(sample) = engine.sample(known)? {
            samples.insert(known.id().to_string(), sample);
        }
    }
    Ok(samples)
}

const TABLE: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const COLUMNS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
