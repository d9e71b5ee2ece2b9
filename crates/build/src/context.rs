//! The files that COPY and ADD take.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::OFlags;
use strata_dockerfile::{DOCKERFILE_BYTES_MAX, Ignore};
use strata_engine::Engine;
use strata_engine::workbench::{Memory, Workbench};
use strata_sys::root_dir::RootDir;
use strata_types::Watch;

use crate::archive;
use crate::error::{BuildError, Problem, read};
use crate::key::Key;
use crate::remote::{Remote, Wish, body};
use crate::request::Secret;
use crate::stamps::Stamps;

/// Where it is noted, below the store's root, what is known of files of contexts.
const STAMPS: &str = "build/stamps";

/// A directory, less what its `.dockerignore` says. Nothing in it leads out of it.
#[derive(Debug)]
pub struct Context {
    root: Option<RootDir>,
    ignore: Ignore,
    /// What is known of its files, if it is a directory of this host.
    stamps: Option<OnceLock<Stamps>>,
}

/// What a URL gives as a context.
#[derive(Debug)]
pub enum RemoteContext {
    /// Files.
    Files(Context),
    /// A Dockerfile, and no files.
    Dockerfile(String),
}

impl RemoteContext {
    /// Fetches it: the tree of a commit, a tar, or a Dockerfile. Secrets may say who we are.
    ///
    /// # Errors
    /// When it cannot be fetched, or is neither.
    pub fn fetch(
        engine: &Engine,
        remote: &Remote,
        secrets: &BTreeMap<String, Secret>,
        watch: &dyn Watch,
    ) -> Result<Self, BuildError> {
        let take = || -> Result<Self, Problem> {
            let bench = engine.workbench()?;
            let authorization = remote.authorization(secrets)?;
            let taken = match remote {
                Remote::Git(_) => {
                    let wish = Wish { authorization, ..Wish::default() };
                    let fetched = remote.fetch(&bench, &wish, watch)?;
                    let dir = fetched.path.trim_matches('/');
                    let at = if dir.is_empty() { "." } else { dir };
                    let tree = bench.tree(&fetched.layers)?;
                    let opened = tree.open(Path::new(at), OFlags::PATH | OFlags::DIRECTORY);
                    let root = RootDir::new(opened.map_err(read(format!("the context {at:?} of the repository")))?);
                    Self::Files(Context { root: Some(root), ignore: Ignore::default(), stamps: None })
                }
                Remote::Web(url) => {
                    let (head, whole) = Context::peek(body(&bench, url, authorization.as_deref(), watch)?)
                        .map_err(read("the context"))?;
                    if Context::is_archive(&head) {
                        Self::Files(Context::tar(&bench, whole, watch)?)
                    } else {
                        let mut text = String::new();
                        let limit = DOCKERFILE_BYTES_MAX as u64 + 1;
                        whole.take(limit).read_to_string(&mut text).map_err(read("the Dockerfile"))?;
                        Self::Dockerfile(text)
                    }
                }
            };
            bench.leave()?;
            Ok(taken)
        };
        take().map_err(BuildError::outside)
    }
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
        Ok(Self { root: Some(root), ignore: parsed.map_err(BuildError::outside)?, stamps: Some(OnceLock::new()) })
    }

    /// Takes a tar, compressed or not, as a context. Its patterns are given later.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_tar(engine: &Engine, tar: impl Read + Send + 'static, watch: &dyn Watch) -> Result<Self, BuildError> {
        let take = || -> Result<Self, Problem> {
            let bench = engine.workbench()?;
            let context = Self::tar(&bench, tar, watch)?;
            bench.leave()?;
            Ok(context)
        };
        take().map_err(BuildError::outside)
    }

    fn tar(bench: &Workbench<'_>, tar: impl Read + Send + 'static, watch: &dyn Watch) -> Result<Self, Problem> {
        let mut tar = archive::decompressed(tar).map_err(read("the context"))?;
        // Its files are those of a layer: nothing in it can lead out of it, and it is forgotten with the cache.
        let layer = bench.add_layer(&[], &mut *tar, watch)?;
        let size_bytes = layer.as_ref().map_or(0, |layer| layer.size_bytes);
        let layers: Vec<_> = layer.into_iter().map(|layer| layer.diff_id).collect();
        let mut key = Key::of("context from a tar");
        key.layers(&layers);
        let memory = Memory { layers, size_bytes, created: jiff::Timestamp::now() };
        bench.remember(&key.finish(), "context from a tar", &memory)?;
        Ok(Self { root: Some(bench.tree(&memory.layers)?), ignore: Ignore::default(), stamps: None })
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
        Self { root: None, ignore: Ignore::default(), stamps: None }
    }

    /// What is known of its files, read when it is first asked for.
    pub(crate) fn stamps(&self, engine: &Engine) -> Option<&Stamps> {
        let (stamps, root) = (self.stamps.as_ref()?, self.root.as_ref()?);
        if stamps.get().is_none() {
            let stat = root.lstat(Path::new(".")).ok().flatten()?;
            stamps.get_or_init(|| Stamps::load(&engine.settings().root.join(STAMPS), &stat));
        }
        stamps.get()
    }

    /// Keeps what became known of its files.
    pub(crate) fn keep_stamps(&self) {
        if let Some(stamps) = self.stamps.as_ref().and_then(OnceLock::get) {
            stamps.save();
        }
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
