//! `strata runtime list`: list containers.

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime list` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// "table" or "json"
    #[arg(short = 'f', long, default_value = "table")]
    pub format: String,
    /// Only ids
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

impl Verb for Args {
    const ABOUT: &str = "List containers";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let all = runtime::open(session)?.list()?;
        if self.quiet {
            for one in &all {
                writeln!(session.out, "{}", one.id)?;
            }
            return Ok(Exit::SUCCESS);
        }
        match self.format.as_str() {
            "json" if all.is_empty() => writeln!(session.out, "null")?,
            "json" => writeln!(session.out, "{}", serde_json::to_string(&all)?)?,
            "table" => {
                let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
                let rows = all.iter().map(|one| {
                    let bundle = one.bundle.display().to_string();
                    let pid = one.pid.to_string();
                    [
                        one.id.clone(),
                        pid,
                        one.status.as_str().to_owned(),
                        bundle,
                        one.created.to_string(),
                        one.owner.clone(),
                    ]
                });
                let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
                let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(9) + 3;
                let widths = [0, 1, 2, 3, 4, 5].map(width);
                for row in &rows {
                    let cells: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
                    writeln!(session.out, "{}", cells.trim_end())?;
                }
            }
            other => return Err(Failure::new(format!("invalid format option: {other}"))),
        }
        Ok(Exit::SUCCESS)
    }
}
