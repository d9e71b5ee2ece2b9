//! `strata manifest annotate`: add additional information to a local image manifest.

use strata_engine::manifest_list::Annotation;

use super::manifest_create::name;
use crate::verb::prelude::*;

/// What `strata manifest annotate` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Set architecture
    #[arg(long)]
    pub arch: Option<String>,
    /// Set operating system
    #[arg(long)]
    pub os: Option<String>,
    /// Set operating system feature
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub os_features: Vec<String>,
    /// Set operating system version
    #[arg(long)]
    pub os_version: Option<String>,
    /// Set architecture variant
    #[arg(long)]
    pub variant: Option<String>,
    /// The list
    pub list: String,
    /// The manifest
    pub manifest: String,
}

impl Verb for Args {
    const ABOUT: &str = "Add additional information to a local image manifest";
    const USAGE: &str = "[OPTIONS] MANIFEST_LIST MANIFEST";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let list = name(&self.list, "annotate: error parsing name for manifest list")?;
        let manifest = name(&self.manifest, "annotate: error parsing name for manifest")?;
        let annotation = Annotation {
            architecture: self.arch.unwrap_or_default(),
            os: self.os.unwrap_or_default(),
            os_version: self.os_version.unwrap_or_default(),
            os_features: self.os_features,
            variant: self.variant.unwrap_or_default(),
        };
        session.engine()?.annotate_manifest(&list, &manifest, &annotation)?;
        Ok(Exit::SUCCESS)
    }
}
