//! `strata volume prune`: remove unused local volumes.

use std::collections::BTreeMap;

use strata_engine::system::PrunedVolumes;

use crate::confirm::confirm;
use crate::filter::{self, Filter, Filters};
use crate::format::size;
use crate::opts;
use crate::verb::prelude::*;

/// What `strata volume prune` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short = 'f', long)]
    pub force: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Remove unused local volumes";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, &["all", "label", "label!"])?;
        let said = all(&filters)?;
        if self.all && said.is_some() {
            return Err(Failure::new("conflicting options: cannot specify both --all and --filter all=1"));
        }
        let all = self.all || said == Some(true);
        if !self.force {
            let which = if all { "local volumes" } else { "anonymous local volumes" };
            let warning = format!("WARNING! This will remove {which} not used by at least one container.");
            confirm(session, "volume prune", &warning)?;
        }
        let labels = |labels: &BTreeMap<String, String>| filters.fits_labels(|key| labels.get(key).map(String::as_str));
        let pruned = session.engine()?.prune_volumes(all, &labels)?;
        show(session, &pruned)?;
        writeln!(session.out, "Total reclaimed space: {}", size::human(pruned.reclaimed_bytes))?;
        Ok(Exit::SUCCESS)
    }
}

/// `--filter all=…`, in the words of this verb.
fn all(filters: &Filters) -> Result<Option<bool>> {
    let invalid = |what: String| Err(Failure::new(format!("invalid filter 'all{what}")));
    match filters.values("all") {
        [] => Ok(None),
        [text] => match opts::go_bool(text) {
            Some(all) => Ok(Some(all)),
            None => invalid(format!("': strconv.ParseBool: parsing {text:?}: invalid syntax")),
        },
        several => invalid(format!("=[{}]': only one value is expected", several.join(" "))),
    }
}

/// Says which volumes are gone; nothing if none is.
pub(super) fn show(session: &mut Session, pruned: &PrunedVolumes) -> Result<()> {
    if pruned.names.is_empty() {
        return Ok(());
    }
    writeln!(session.out, "Deleted Volumes:")?;
    pruned.names.iter().try_for_each(|name| writeln!(session.out, "{name}"))?;
    Ok(writeln!(session.out)?)
}
