//! `strata system gc`: remove images that were used longest ago.

use strata_engine::system::Budgeted;
use strata_types::Silent;

use crate::format::size;
use crate::opts;
use crate::verb::prelude::*;

/// What `strata system gc` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How much images may take on the disk; the budget if it is not given
    #[arg(long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub keep: Option<u64>,
}

impl Verb for Args {
    const ABOUT: &str = "Remove images that were used longest ago";
    const USAGE: &str = "[OPTIONS]";
    const EXAMPLES: &str = "  strata system gc --keep 20GB             Remove images until the others take 20 GB
  strata image keep debian:12              Never remove this one
  strata system budget 20GB                Do so after every pull";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let Some(keep) = self.keep.map_or_else(|| engine.budget(), |keep| Ok(Some(keep)))? else {
            return Err(Failure::new("say how much to keep with --keep, or set a budget")
                .hint("`strata system gc --keep 20GB`, or `strata system budget 20GB`"));
        };
        let Budgeted { pruned, left_bytes } = engine.gc(keep, &[], &Silent)?;
        super::image_prune::show(session, &pruned)?;
        writeln!(session.out, "Total reclaimed space: {}", size::human(pruned.reclaimed_bytes))?;
        if left_bytes > keep {
            let left = size::human(left_bytes);
            writeln!(session.err, "WARNING: {left} are left, because what is left is in use or kept")?;
        }
        Ok(Exit::SUCCESS)
    }
}
