//! `strata network ls`: list networks.

use serde_json::{Value as Json, json};
use strata_engine::network::NetworkKnown;

use crate::filter::{self, Filter, Filters};
use crate::format::{List, age, shorten};
use crate::verb::prelude::*;

/// What `strata network ls` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short = 'f', long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only display network IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

impl Verb for Args {
    const ABOUT: &str = "List networks";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let known = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type"];
        let filters = Filters::new(&self.filter, &known)?;
        let dangling = filters.truth("dangling").map_err(|_| {
            let known = r#"must be "true" (or "1"), or "false" (or "0")"#;
            Failure::new(format!("invalid value for filter 'dangling', {known}"))
        })?;
        if let Some(other) = filters.values("type").iter().find(|kind| !["builtin", "custom"].contains(&kind.as_str()))
        {
            return Err(Failure::new(format!("invalid filter: 'type'='{other}'")));
        }
        let engine = session.engine()?;
        let mut rows: Vec<Json> = Vec::new();
        for network in engine.networks()? {
            let record = &network.record;
            let kind = if network.is_builtin() { "builtin" } else { "custom" };
            let fits = filters.fits("driver", |driver| driver == record.driver)
                && filters.fits("id", |id| record.id.starts_with(id))
                && filters.fits("name", |name| filter::matches(&record.name, name))
                && filters.fits("scope", |scope| scope == "local")
                && filters.fits("type", |wanted| wanted == kind)
                && filters.fits_labels(|key| record.labels.get(key).map(String::as_str));
            let is_dangling = |wanted: bool| -> Result<bool> {
                let unused = !network.is_builtin() && engine.network_endpoints(&network)?.is_empty();
                Ok(unused == wanted)
            };
            if fits && dangling.map_or(Ok(true), is_dangling)? {
                rows.push(row(session, &network, self.no_trunc));
            }
        }
        let list = List {
            of: "*network.networkContext",
            columns: COLUMNS,
            table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
            quiet: "{{.ID}}",
        };
        session.out.write_all(list.render(self.format.as_deref(), self.quiet, &rows)?.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

fn row(session: &Session, network: &NetworkKnown, whole: bool) -> Json {
    let record = &network.record;
    let labels: Vec<String> = record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "CreatedAt": age::moment(record.created, session.zone()),
        "Driver": record.driver,
        "ID": if whole { record.id.as_str() } else { shorten::id(&record.id) },
        "IPv6": network.definition.ipv6.to_string(),
        "Internal": network.definition.internal.to_string(),
        "Labels": labels.join(","),
        "Name": record.name,
        "Scope": "local",
    })
}

const COLUMNS: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];
