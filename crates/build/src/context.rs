//! The files that COPY and ADD take.

use std::io::{Cursor, Read};
use std::path::Path;

use strata_dockerfile::Ignore;
use strata_engine::Engine;
use strata_engine::workbench::Memory;
use strata_sys::root_dir::RootDir;
use strata_types::Watch;

use crate::archive;
use crate::error::{BuildError, Problem, read};
use crate::key::Key;

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

    /// Takes a tar, compressed or not, as a context. Its patterns are given later.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_tar(engine: &Engine, tar: impl Read + Send + 'static, watch: &dyn Watch) -> Result<Self, BuildError> {
        let take = || -> Result<RootDir, Problem> {
            let mut tar = archive::decompressed(tar).map_err(read("the context"))?;
            let bench = engine.workbench()?;
            // Its files are those of a layer: nothing in it can lead out of it, and it is forgotten with the cache.
            let layer = bench.add_layer(&[], &mut *tar, watch)?;
            let size_bytes = layer.as_ref().map_or(0, |layer| layer.size_bytes);
            let layers: Vec<_> = layer.into_iter().map(|layer| layer.diff_id).collect();
            let mut key = Key::of("context from a tar");
            key.layers(&layers);
            let memory = Memory { layers, size_bytes, created: jiff::Timestamp::now() };
            bench.remember(&key.finish(), "context from a tar", &memory)?;
            let root = bench.tree(&memory.layers)?;
            bench.leave()?;
            Ok(root)
        };
        let root = take().map_err(BuildError::outside)?;
        Ok(Self { root: Some(root), ignore: Ignore::default() })
    }

    /// Whether bytes begin a context rather than a Dockerfile.
    pub fn is_archive(head: &[u8]) -> bool {
        archive::is_tar(head) || archive::is_compressed(head)
    }

    /// The beginning of a stream, enough for [`Context::is_archive`], and the whole stream again.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn peek<R: Read>(mut from: R) -> std::io::Result<(Vec<u8>, impl Read + use<R>)> {
        let head = archive::head(&mut from)?;
        Ok((head.clone(), Cursor::new(head).chain(from)))
    }

    /// A text in it; nothing if it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self, path: &Path, limit_bytes: u64) -> std::io::Result<Option<String>> {
        self.root.as_ref().map_or(Ok(None), |root| root.read_to_string(path, limit_bytes))
    }

    /// Leaves out what the text of a `.dockerignore` says.
    ///
    /// # Errors
    /// When a pattern cannot be read.
    pub fn ignoring(self, ignore: &str) -> Result<Self, BuildError> {
        let parsed = Ignore::parse(ignore);
        let parsed = parsed.map_err(|source| Problem::Ignore { what: "failed to read .dockerignore", source });
        Ok(Self { ignore: parsed.map_err(BuildError::outside)?, ..self })
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
