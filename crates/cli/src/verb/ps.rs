//! `strata ps`: list containers.

use std::ops::RangeInclusive;

use serde_json::Value as Json;
use strata_engine::Engine;
use strata_engine::container::Listed;
use strata_runtime::Status;
use strata_types::ImageId;

use crate::container::row::{COLUMNS, How, Sizes, TABLE, TABLE_SIZE, row};
use crate::filter::{self, Filter, Filters};
use crate::format::List;
use crate::opts::port;
use crate::verb::inspect::mask_note;
use crate::verb::prelude::*;

/// What `strata ps` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all containers (default shows just running)
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1")]
    pub last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short = 'l', long)]
    pub latest: bool,
    /// Don't truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only display container IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Show values that look like secrets
    #[arg(long)]
    pub reveal: bool,
    /// Display total file sizes
    #[arg(short = 's', long)]
    pub size: bool,
}

impl Verb for Args {
    const ABOUT: &str = "List containers";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let list = List {
            of: "*formatter.ContainerContext",
            columns: COLUMNS,
            table: if self.size { TABLE_SIZE } else { TABLE },
            quiet: "{{.ID}}",
        };
        // As with Docker, which asks the template whether sizes are needed.
        if let Some(format) = &self.format {
            list.check(format)?;
        }
        let filters = Filters::new(&self.filter, FILTERS)?;
        let engine = session.engine()?;
        let choice = Choice::new(&engine, &filters)?;
        let last = if self.latest { Some(1) } else { self.last.and_then(|last| usize::try_from(last).ok()) };
        let last = last.filter(|last| *last > 0);
        let all = self.all
            || last.is_some()
            || ["status", "exited", "before", "since"].iter().any(|name| !filters.values(name).is_empty());
        let all_containers = engine.containers()?;
        let chosen = choice.of(&filters, &all_containers)?;
        let shown =
            chosen.into_iter().filter(|listed| all || listed.state.status.is_up()).take(last.unwrap_or(usize::MAX));
        let mut format = self.format.as_deref();
        if self.quiet && format.is_some_and(|format| !matches!(format, "" | "table")) {
            let ignored = "WARNING: Ignoring custom format, because both --format and --quiet are set.";
            writeln!(session.err, "{ignored}")?;
            format = None;
        }
        let sizes = self.size || format.is_some_and(|format| format.contains(".Size"));
        let mut rows: Vec<Json> = Vec::new();
        for listed in shown {
            let sizes = if sizes { Some(sizes_of(&engine, listed)?) } else { None };
            rows.push(row(session, listed, How { whole: self.no_trunc, reveal: self.reveal, sizes }));
        }
        let text = list.render(format, self.quiet, &rows)?;
        session.out.write_all(text.as_bytes())?;
        mask_note(session, self.reveal, &text)?;
        Ok(Exit::SUCCESS)
    }
}

/// What `--filter` takes.
const FILTERS: &[&str] = &[
    "id",
    "name",
    "label",
    "label!",
    "status",
    "exited",
    "ancestor",
    "before",
    "since",
    "volume",
    "health",
    "network",
    "publish",
    "expose",
    "is-task",
    "isolation",
];

/// The states `--filter status=` takes.
const STATES: &[&str] = &["created", "restarting", "running", "removing", "paused", "exited", "dead"];

/// What `--filter health=` takes.
const HEALTH: &[&str] = &["starting", "healthy", "unhealthy", "none"];

fn sizes_of(engine: &Engine, listed: &Listed) -> Result<Sizes> {
    let (own, image_bytes) = engine.container_usage(&listed.known)?;
    Ok(Sizes { own_bytes: own.content_bytes, all_bytes: own.content_bytes + image_bytes })
}

/// Filters whose values were looked up.
struct Choice {
    /// Names, with the images that they are the name of and those that were made from these.
    ancestors: Vec<(String, Option<Vec<ImageId>>)>,
    exited: Vec<i32>,
    publish: Vec<Ports>,
    expose: Vec<Ports>,
    /// Whether there can be any container that fits at all.
    any: bool,
}

/// Ports of one protocol, the first and the last.
type Ports = (RangeInclusive<u16>, &'static str);

impl Choice {
    fn new(engine: &Engine, filters: &Filters) -> Result<Self> {
        let bad = |name: &str, value: &str| Failure::new(format!("invalid filter '{name}={value}'"));
        for value in filters.values("status") {
            if !STATES.contains(&value.as_str()) {
                return Err(bad("status", value));
            }
        }
        for value in filters.values("health") {
            if !HEALTH.contains(&value.as_str()) {
                return Err(Failure::new(format!("unrecognized filter value for health: {value}")));
            }
        }
        // No container here is a task of a swarm; and isolations are something of Windows, passed over elsewhere.
        let any = filters.truth("is-task")? != Some(true);
        let mut exited = Vec::new();
        for value in filters.values("exited") {
            exited.push(value.parse().map_err(|_| {
                let why = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
                Failure::new(why).within(format!("invalid filter 'exited={value}'"))
            })?);
        }
        let mut ancestors = Vec::new();
        for value in filters.values("ancestor") {
            // An image that is not here may have containers still.
            let image = engine.find_image(value).ok().flatten();
            let derived = image.map(|image| engine.derived_from(&image.id)).transpose()?;
            ancestors.push((value.clone(), derived));
        }
        let ports = |name: &str| -> Result<Vec<Ports>> {
            let wrong = |value: &str| {
                let why = port::why_no_range(value);
                Failure::new(why).within(format!("error while looking up for {name} {value}"))
            };
            let of = |value: &String| {
                let port = port::parse(value).ok().filter(|_| !value.contains(':')).ok_or_else(|| wrong(value))?;
                Ok((port.container.0..=port.container.1, port.protocol))
            };
            filters.values(name).iter().map(of).collect()
        };
        let (publish, expose) = (ports("publish")?, ports("expose")?);
        Ok(Self { ancestors, exited, publish, expose, any })
    }

    /// The containers that fit, the newest first.
    fn of<'a>(&self, filters: &Filters, all: &'a [Listed]) -> Result<Vec<&'a Listed>> {
        // The newest is first: those made before a container stand behind it.
        let place = |name: &str| -> Result<Option<usize>> {
            let Some(what) = filters.values(name).last() else { return Ok(None) };
            let found = all.iter().position(|listed| {
                let record = &listed.known.record;
                record.name == *what || record.id.as_str().starts_with(what.as_str())
            });
            found.map(Some).ok_or_else(|| Failure::new(format!("No such container: {what}")))
        };
        let (before, since) = (place("before")?, place("since")?);
        let inside = |index: usize| before.is_none_or(|at| index > at) && since.is_none_or(|at| index < at);
        let fitting = all.iter().enumerate().filter(|(index, listed)| inside(*index) && self.fits(filters, listed));
        Ok(fitting.map(|(_, listed)| listed).collect())
    }

    fn fits(&self, filters: &Filters, listed: &Listed) -> bool {
        let record = &listed.known.record;
        let document = &listed.known.document;
        let labels = &document.config.run.labels;
        let is_ancestor = |(name, images): &(String, Option<Vec<ImageId>>)| match images {
            Some(images) => images.contains(&record.image),
            None => *name == record.image_name,
        };
        let mounted = |volume: &str| {
            let targets = document.mounts.iter().any(|mount| mount.target == volume);
            targets || listed.mounts().iter().any(|mount| mount == volume)
        };
        let exited = listed.state.status == Status::Exited && self.exited.contains(&listed.state.exit_code);
        self.any
            && filters.fits("id", |id| record.id.as_str().starts_with(id))
            && filters.fits("name", |name| has_name(&record.name, name))
            && filters.fits("status", |status| listed.state.status.as_str() == status)
            && filters.fits("volume", mounted)
            && filters.fits("network", |network| listed.networks().contains(&network))
            && filters.fits("health", |health| health == health_of(listed))
            && filters.fits_labels(|key| labels.get(key).map(String::as_str))
            && (self.exited.is_empty() || exited)
            && self.fits_ports(listed)
            && (self.ancestors.is_empty() || self.ancestors.iter().any(is_ancestor))
    }
}

impl Choice {
    /// Whether the ports of a container that runs are among those asked for: the host's, and its own.
    fn fits_ports(&self, listed: &Listed) -> bool {
        if self.publish.is_empty() && self.expose.is_empty() {
            return true;
        }
        let published = |(range, protocol): &Ports| {
            listed.connected.ports().any(|port| range.contains(&port.host_port) && port.protocol.name() == *protocol)
        };
        let exposed = |(range, protocol): &Ports| {
            let is = |name: &String| {
                let (number, kind) = name.split_once('/').unwrap_or((name, "tcp"));
                kind == *protocol && number.parse().is_ok_and(|number| range.contains(&number))
            };
            let own =
                listed.connected.ports().any(|port| range.contains(&port.port) && port.protocol.name() == *protocol);
            own || listed.known.document.config.run.exposed_ports.iter().any(is)
        };
        listed.state.status.is_alive()
            && (self.publish.is_empty() || self.publish.iter().any(published))
            && (self.expose.is_empty() || self.expose.iter().any(exposed))
    }
}

/// How a container feels, in a word.
fn health_of(listed: &Listed) -> &'static str {
    listed.state.health.as_ref().map_or("none", |health| health.status.as_str())
}

/// Whether a name fits, with or without the slash that Docker puts before names of containers.
fn has_name(name: &str, wanted: &str) -> bool {
    filter::matches(name, wanted) || filter::matches(&format!("/{name}"), wanted)
}

#[cfg(test)]
mod tests {
    use super::has_name;

    #[test]
    fn names_fit_in_part_unless_anchored() {
        for wanted in
            ["we", "^we", "/web", "eb$", "^web$", "^/web$", "w.b", "^(a|web)$", "[[:alpha:]]{3}", "(?i)WEB", ""]
        {
            assert!(has_name("web", wanted), "{wanted}");
        }
        for wanted in ["^eb", "we$", "/eb", "x", "(", "^$"] {
            assert!(!has_name("web", wanted), "{wanted}");
        }
    }
}
