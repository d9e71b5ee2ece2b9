//! `strata manifest inspect`: display an image manifest, or manifest list.

use serde::Serialize;
use serde_json::Value as Json;
use strata_engine::manifest_list::FoundManifest;
use strata_types::listed_manifest::{indented, printed_list};
use strata_types::{Descriptor, ListedManifest, Reference};

use super::manifest_create::advise;
use crate::verb::prelude::*;

/// What `strata manifest inspect` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Allow communication with an insecure registry
    #[arg(long)]
    pub insecure: bool,
    /// Output additional info including layers and platform
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// The manifest, or a list that is kept here and one of its manifests
    #[arg(required = true, num_args = 1..=2)]
    pub names: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display an image manifest, or manifest list";
    const USAGE: &str = "[OPTIONS] [MANIFEST_LIST] MANIFEST";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let names = self.names.iter().map(|name| Ok(name.parse::<Reference>()?.or_latest()));
        let names = names.collect::<Result<Vec<_>>>()?;
        let engine = session.engine()?;
        let text = match &names[..] {
            [list, manifest, ..] => self.one(&engine.listed_manifest(list, manifest)?),
            [name] => match engine.find_manifest(name, self.insecure).map_err(advise)? {
                FoundManifest::One(manifest) => self.one(&manifest),
                FoundManifest::Kept(manifests) if self.verbose => printed(&manifests),
                FoundManifest::Kept(manifests) => {
                    let descriptors: Vec<Descriptor> = manifests.into_iter().map(|one| one.descriptor).collect();
                    printed_list(&descriptors).1
                }
                FoundManifest::Remote(index) if self.verbose => {
                    printed(&engine.manifests_of(name, &index, self.insecure)?)
                }
                FoundManifest::Remote(index) => index.printed(),
            },
            [] => return Ok(Exit::SUCCESS),
        };
        session.out.write_all(&text)?;
        writeln!(session.out)?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    /// One manifest: what it says, or all that is known of it.
    fn one(&self, manifest: &ListedManifest) -> Vec<u8> {
        if self.verbose {
            return printed(manifest);
        }
        printed(manifest.oci.as_ref().or(manifest.docker.as_ref()).unwrap_or(&Json::Null))
    }
}

fn printed(value: &impl Serialize) -> Vec<u8> {
    indented(value, "\t")
}
