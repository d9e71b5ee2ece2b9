//! `strata secret ls`: list secrets, never their values.

use serde_json::{Value as Json, json};
use strata_engine::secret::Secret;

use crate::filter::{self, Filter, Filters};
use crate::format::{List, age};
use crate::verb::prelude::*;

/// What `strata secret ls` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Only display IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

impl Verb for Args {
    const ABOUT: &str = "List secrets";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, &["id", "label", "label!", "name"])?;
        let secrets = session.engine()?.secrets()?;
        let fits = |secret: &&Secret| {
            filters.fits("id", |id| secret.id.starts_with(id))
                && filters.fits("name", |name| secret.name.contains(name))
                && filters.fits_labels(|key| secret.labels.get(key).map(String::as_str))
        };
        let rows: Vec<Json> = secrets.iter().filter(fits).map(|secret| row(secret, session)).collect();
        let list = List {
            of: "*secret.secretContext",
            columns: COLUMNS,
            table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
            quiet: "{{.ID}}",
        };
        session.out.write_all(list.render(self.format.as_deref(), self.quiet, &rows)?.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

fn row(secret: &Secret, session: &Session) -> Json {
    let labels: Vec<String> = secret.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    // A secret is never changed.
    let since = age::ago(secret.created, session.now());
    json!({
        "CreatedAt": since, "Driver": "", "ID": secret.id, "Labels": labels.join(","), "Name": secret.name,
        "UpdatedAt": since,
    })
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("CreatedAt", "CREATED"),
    ("UpdatedAt", "UPDATED"),
    ("Labels", "LABELS"),
];
