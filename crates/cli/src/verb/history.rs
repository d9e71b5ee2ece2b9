//! `strata history`: show the history of an image.

use serde_json::{Value as Json, json};
use strata_engine::image::Step;

use crate::format::{List, age, shorten, size};
use crate::mask;
use crate::verb::inspect::mask_note;
use crate::verb::prelude::*;

/// What `strata history` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, default_value = "true")]
    pub human: bool,
    /// Don't truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only show image IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Show values that look like secrets
    #[arg(long)]
    pub reveal: bool,
    /// The image
    pub image: String,
}

impl Verb for Args {
    const ABOUT: &str = "Show the history of an image";
    const USAGE: &str = "[OPTIONS] IMAGE";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let steps = session.engine()?.history(&self.image)?;
        let rows: Vec<Json> = steps.iter().map(|step| self.row(step, session)).collect();
        let table = match self.human {
            true => "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
            false => "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        };
        let list = List { of: "*image.historyContext", columns: COLUMNS, table, quiet: "{{.ID}}" };
        let text = list.render(self.format.as_deref(), self.quiet, &rows)?;
        session.out.write_all(text.as_bytes())?;
        mask_note(session, self.reveal, &text)?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    fn row(&self, step: &Step, session: &Session) -> Json {
        let id = step.id.as_ref().map_or_else(|| String::from("<missing>"), ToString::to_string);
        let id = if self.no_trunc || step.id.is_none() { id.as_str() } else { shorten::id(&id) };
        let command = step.created_by.replace('\t', " ");
        let command = if self.reveal { command } else { mask::text(&command) };
        let command = if self.no_trunc { command } else { shorten::text(&command, 45) };
        let at = step.created.map(|time| age::moment_rfc3339(time, session.zone())).unwrap_or_default();
        let since = match self.human {
            true => step.created.map_or_else(|| String::from("N/A"), |time| age::ago(time, session.now())),
            false => at.clone(),
        };
        let bytes = if self.human { size::short(step.size_bytes) } else { step.size_bytes.to_string() };
        json!({
            "ID": id, "CreatedSince": since, "CreatedAt": at, "CreatedBy": command, "Size": bytes,
            "Comment": step.comment,
        })
    }
}

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
