//! What to build, and who watches.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use strata_dockerfile::Warning;
use strata_engine::container::HostConfig;
use strata_engine::workbench::{CachePlace, LayoutName};
use strata_types::config::ImageConfig;
use strata_types::reference::Reference;
use strata_types::{DiffId, ImageId, Platform, Watch};

use crate::annotation::Annotation;
use crate::caches::CacheExport;
use crate::context::Context;
use crate::error::{Problem, read};

/// What to build.
#[derive(Debug)]
pub struct BuildRequest {
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// The files that COPY and ADD take.
    pub context: Context,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// What becomes of it.
    pub output: Output,
    /// What is attested of the image; kept with its names, so that it needs one.
    pub attest: Attest,
    /// What manifests say of the image; kept with its names, too.
    pub annotations: Vec<Annotation>,
    /// Names for the image.
    pub names: Vec<Reference>,
    /// The stage to build; the last one without.
    pub target: Option<String>,
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Nothing that was done before counts.
    pub no_cache: bool,
    /// The layers that are added become one.
    pub squash: bool,
    /// Nor what these stages did.
    pub no_cache_filter: Vec<String>,
    /// Where steps are looked for that are not remembered here.
    pub cache_from: Vec<CachePlace>,
    /// Where what was done is written to.
    pub cache_to: Vec<CacheExport>,
    /// Base images are asked for anew.
    pub pull: bool,
    /// What the image is to run on; this host if there is none. Several make an image for each, under the same names.
    pub platforms: Vec<Platform>,
    /// The network of RUN: `default`, `none`, `host`, or a network's name.
    pub network: String,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: sockets of agents, by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// RUN may ask for the privileges of the host's root.
    pub allow_insecure: bool,
    /// Limits and the like of RUN.
    pub host: HostConfig,
    /// No time in the image is later than this, in seconds since 1970; times of the image itself are this.
    pub epoch: Option<i64>,
    /// How many steps are done at once.
    pub steps_at_once: usize,
}

/// What is attested of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attest {
    /// How it was built.
    pub provenance: Option<Detail>,
    /// What is in it.
    pub sbom: bool,
}

impl Attest {
    /// Whether nothing is.
    pub(crate) const fn is_none(self) -> bool {
        self.provenance.is_none() && !self.sbom
    }
}

/// How much provenance says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// From what images, for what platform, when.
    Min,
    /// Also by what request: the Dockerfile, arguments, the ids of secrets.
    Max,
}

impl BuildRequest {
    /// All contexts that are files.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = &Context> {
        let named = self.contexts.values().filter_map(|context| match context {
            NamedContext::Files(files) => Some(files),
            NamedContext::Image(_) | NamedContext::Layout { .. } => None,
        });
        [&self.context].into_iter().chain(named)
    }

    /// What a name in FROM, `--from` or a mount stands for, if it is that of a further context.
    pub(crate) fn context_named(&self, name: &str) -> Option<&NamedContext> {
        if self.contexts.is_empty() { None } else { self.contexts.get(&NamedContext::key(name)) }
    }
}

/// What a name stands for in FROM, `--from` and mounts.
#[derive(Debug)]
pub enum NamedContext {
    /// Files.
    Files(Context),
    /// An image.
    Image(String),
    /// An image in a directory with an OCI layout.
    Layout {
        /// The directory.
        dir: PathBuf,
        /// Which.
        name: LayoutName,
    },
}

impl NamedContext {
    /// A name as contexts are known by: `alpine`, `alpine:latest` and `docker.io/library/alpine` are one.
    pub fn key(name: &str) -> String {
        let Ok(reference) = name.parse::<Reference>() else { return name.to_owned() };
        let familiar = reference.familiar();
        familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned()
    }
}

/// What becomes of what was built.
#[derive(Debug)]
pub enum Output {
    /// An image here.
    Image,
    /// Nothing: what was done is remembered.
    Nothing,
    /// Files in a directory, which is there.
    Dir(PathBuf),
    /// A tar of its files.
    Tar(File),
}

/// A secret that RUN may have. It is in no layer, history, key or log.
#[derive(Clone)]
pub enum Secret {
    /// The content of a file.
    File(PathBuf),
    /// Itself.
    Value(Vec<u8>),
}

impl Secret {
    /// The longest: BuildKit's limit.
    pub const BYTES_MAX: u64 = 500 << 10;
    /// What is shorter cannot be told from other words in what a program prints.
    pub(crate) const HIDDEN_BYTES_MIN: usize = 4;

    /// Its value.
    pub(crate) fn read(&self, id: &str) -> Result<Vec<u8>, Problem> {
        let value = match self {
            Self::Value(value) => value.clone(),
            Self::File(path) => {
                let file = File::open(path).map_err(read(format!("secret {id}")))?;
                let mut value = Vec::new();
                file.take(Self::BYTES_MAX + 1).read_to_end(&mut value).map_err(read(format!("secret {id}")))?;
                value
            }
        };
        if value.len() as u64 > Self::BYTES_MAX {
            return Err(Problem::Unsupported(format!("secret {id} is larger than {} bytes", Self::BYTES_MAX)));
        }
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    /// Never its value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The image.
    pub image: ImageId,
    /// Its config.
    pub config: ImageConfig,
    /// Those of its layers, each with those below it, that were made just now.
    pub made: Vec<Vec<DiffId>>,
    /// The images for all platforms, in the order they were asked for; `image` is the one that runs here, else the first.
    pub images: Vec<(Platform, ImageId)>,
    /// What could be better in the Dockerfile.
    pub warnings: Vec<Warning>,
    /// Arguments that were given and that nothing declares.
    pub unused: Vec<String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It had been done before.
    Cached,
    /// It failed.
    Failed,
    /// The build was asked to stop.
    Cancelled,
}

/// Sees a build. Called from several threads at once.
pub trait Observer: Watch {
    /// A step begins; the number is its own.
    fn begin(&self, number: usize, name: &str);

    /// It wrote this.
    fn output(&self, number: usize, is_stderr: bool, bytes: &[u8]);

    /// Something to say of it that it did not write itself.
    fn status(&self, number: usize, text: &str);

    /// It ended, after this time.
    fn end(&self, number: usize, outcome: Outcome, took: Duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_have_one_name_in_all_its_forms() {
        for name in ["alpine", "alpine:latest", "docker.io/library/alpine", "docker.io/alpine:latest"] {
            assert_eq!(NamedContext::key(name), "alpine", "{name}");
        }
        for name in ["src", "0", "alpine:3", "localhost:5000/x", "Not A Reference"] {
            assert_eq!(NamedContext::key(name), name);
        }
    }
}
