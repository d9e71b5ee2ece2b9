//! Files from elsewhere: `ADD` of URLs and repositories, and contexts that are such.
//!
//! ```text
//! web.rs    a file by URL: a layer with that file
//! git.rs    a commit of a repository, by the program `git`: a layer with its tree
//! spec.rs   what a URL names
//! ```
//!
//! What was fetched is a layer that is remembered as a step is: it is not fetched again while the server says, or the commit
//! means, that it is the same.

mod git;
mod spec;
mod web;

use jiff::Timestamp;
use strata_engine::workbench::{Layer, Memory, Workbench};
use strata_types::{DiffId, Watch};

use crate::error::Problem;

pub use git::last_commit_time;
pub use spec::{GitSpec, Remote};
pub(crate) use web::body;

/// What was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// A layer with the files, on no other; none if there are no files.
    pub(crate) layers: Vec<DiffId>,
    /// What of it was meant: a path.
    pub(crate) path: String,
    /// What counts beside the content: when it was changed last.
    pub(crate) time: i64,
}

/// How it is fetched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// `--checksum`.
    pub(crate) checksum: &'a str,
    /// `--keep-git-dir`.
    pub(crate) keep_git_dir: bool,
    /// What was fetched before does not count.
    pub(crate) anew: bool,
}

impl Remote {
    /// Fetches it, or finds that it is here.
    pub(crate) fn fetch(&self, bench: &Workbench<'_>, wish: &Wish<'_>, watch: &dyn Watch) -> Result<Fetched, Problem> {
        match self {
            Self::Web(url) => web::fetch(bench, url, wish, watch),
            Self::Git(spec) => git::fetch(bench, spec, wish, watch),
        }
    }
}

/// Remembers a layer under its keys.
fn remember(
    bench: &Workbench<'_>,
    keys: impl IntoIterator<Item = String>,
    what: &str,
    layer: Option<Layer>,
    created: Timestamp,
) -> Result<Vec<DiffId>, Problem> {
    let size_bytes = layer.as_ref().map_or(0, |layer| layer.size_bytes);
    let layers: Vec<DiffId> = layer.into_iter().map(|layer| layer.diff_id).collect();
    let memory = Memory { layers, size_bytes, created };
    keys.into_iter().try_for_each(|key| bench.remember(&key, what, &memory))?;
    Ok(memory.layers)
}
