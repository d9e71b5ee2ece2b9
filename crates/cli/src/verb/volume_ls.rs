//! `strata volume ls`: list volumes.

use serde_json::{Value as Json, json};
use strata_engine::container::VolumeUse;

use crate::filter::{self, Filter, Filters};
use crate::format::List;
use crate::verb::prelude::*;

/// What `strata volume ls` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short = 'f', long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Only display volume names
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

impl Verb for Args {
    const ABOUT: &str = "List volumes";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, &["dangling", "driver", "label", "label!", "name"])?;
        let dangling = filters.truth("dangling")?;
        let volumes = session.engine()?.volumes()?;
        let fits = |volume: &&VolumeUse| {
            dangling.is_none_or(|dangling| dangling == (volume.containers == 0))
                && filters.fits("driver", |driver| driver == volume.record.driver)
                && filters.fits("name", |name| filter::matches(&volume.record.name, name))
                && filters.fits_labels(|key| volume.record.labels.get(key).map(String::as_str))
        };
        let rows: Vec<Json> = volumes.iter().filter(fits).map(row).collect();
        let list = List {
            of: "*formatter.volumeContext",
            columns: COLUMNS,
            table: "{{.Driver}}\t{{.Name}}",
            quiet: "{{.Name}}",
        };
        session.out.write_all(list.render(self.format.as_deref(), self.quiet, &rows)?.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

fn row(volume: &VolumeUse) -> Json {
    let labels: Vec<String> = volume.record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Availability": "N/A", "Driver": volume.record.driver, "Group": "N/A", "Labels": labels.join(","), "Links": "N/A",
        "Mountpoint": volume.mountpoint, "Name": volume.record.name, "Scope": "local", "Size": "N/A", "Status": "N/A",
    })
}

const COLUMNS: &[(&str, &str)] = &[
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];
