//! The files that COPY and ADD take.

use std::path::Path;

use strata_dockerfile::Ignore;
use strata_sys::root_dir::RootDir;

use crate::error::{BuildError, Problem, read};

/// A directory, less what its `.dockerignore` says. Nothing in it leads out of it.
#[derive(Debug)]
pub struct Context {
    root: Option<RootDir>,
    ignore: Ignore,
}

impl Context {
    /// Opens a directory; `ignore` is the text of its `.dockerignore`.
    ///
    /// # Errors
    /// When it cannot be opened, or a pattern cannot be read.
    pub fn open(dir: &Path, ignore: &str) -> Result<Self, BuildError> {
        let opened = RootDir::open_host(dir).map_err(read(format!("the context {}", dir.display())));
        let root = opened.map_err(BuildError::outside)?;
        let parsed =
            Ignore::parse(ignore).map_err(|source| Problem::Ignore { what: "failed to read .dockerignore", source });
        Ok(Self { root: Some(root), ignore: parsed.map_err(BuildError::outside)? })
    }

    /// No files at all.
    pub fn empty() -> Self {
        Self { root: None, ignore: Ignore::default() }
    }

    /// The directory, if there is one.
    pub(crate) const fn root(&self) -> Option<&RootDir> {
        self.root.as_ref()
    }

    /// What does not belong to it.
    pub(crate) const fn ignore(&self) -> &Ignore {
        &self.ignore
    }
}
