//! `strata manifest push`: push a manifest list to a repository.

use super::manifest_create::name;
use crate::progress::{Progress, Show};
use crate::verb::prelude::*;

/// What `strata manifest push` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Allow push to an insecure registry
    #[arg(long)]
    pub insecure: bool,
    /// Remove the local manifest list after push
    #[arg(short = 'p', long)]
    pub purge: bool,
    /// The list
    pub list: String,
}

impl Verb for Args {
    const ABOUT: &str = "Push a manifest list to a repository";
    const USAGE: &str = "[OPTIONS] MANIFEST_LIST";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let list = name(&self.list, "error parsing name for manifest list")?;
        let engine = session.engine()?;
        let progress = Progress::start(session, Show::Nowhere)?;
        let pushed = engine.push_manifest_list(&list, self.insecure, &progress);
        progress.finish();
        let pushed = pushed?;
        for manifest in &pushed.copied {
            let digest = manifest.digest().map(ToString::to_string).unwrap_or_default();
            writeln!(session.out, "Pushed ref {manifest} with digest: {digest}")?;
        }
        writeln!(session.out, "{}", pushed.digest)?;
        if self.purge {
            engine.remove_manifest_list(&list)?;
        }
        Ok(Exit::SUCCESS)
    }
}
