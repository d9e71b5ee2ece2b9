//! `strata manifest create`: create a local manifest list for annotating and pushing to a registry.

use strata_engine::manifest_list::{ListWish, ManifestListError};
use strata_types::Reference;

use crate::verb::prelude::*;

/// What `strata manifest create` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Amend an existing manifest list
    #[arg(short = 'a', long)]
    pub amend: bool,
    /// Allow communication with an insecure registry
    #[arg(long)]
    pub insecure: bool,
    /// The list
    pub list: String,
    /// The manifests
    #[arg(required = true)]
    pub manifests: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Create a local manifest list for annotating and pushing to a registry";
    const USAGE: &str = "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]";

    const EXAMPLES: &str = "  strata manifest create me/app:1 me/app:1-amd64 me/app:1-arm64
  strata manifest push me/app:1";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let list = name(&self.list, "error parsing name for manifest list")?;
        let manifests = self.manifests.iter().map(|text| Ok(text.parse::<Reference>()?.or_latest()));
        let manifests = manifests.collect::<Result<Vec<_>>>()?;
        let wish = ListWish { amend: self.amend, insecure: self.insecure };
        session.engine()?.create_manifest_list(&list, &manifests, wish).map_err(advise)?;
        writeln!(session.out, "Created manifest list {list}")?;
        Ok(Exit::SUCCESS)
    }
}

/// Reads a reference; a failure begins with these words.
pub(super) fn name(text: &str, what: &str) -> Result<Reference> {
    match text.parse::<Reference>() {
        Ok(name) => Ok(name.or_latest()),
        Err(error) => Err(Failure::new(format!("{what} {text}: {error}"))),
    }
}

/// Says what to do about a manifest that no registry has.
pub(super) fn advise(error: strata_engine::Error) -> Failure {
    let missing = match &error {
        strata_engine::Error::ManifestList(error) => match &**error {
            ManifestListError::NotFound { name, is_here: true } => Some(name),
            _ => None,
        },
        _ => None,
    };
    let hint = missing
        .map(|name| format!("it is here only; a list names what a registry has: `strata push {}`", name.familiar()));
    hint.into_iter().fold(Failure::from(error), Failure::hint)
}
