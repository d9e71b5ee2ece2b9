//! `--parents`: the directories that a source lies in come along, those after `/./` if it is written.

use strata_layer::LayerPath;

use super::glob;
use crate::error::Problem;

/// Where the directories begin that come along.
pub(super) struct Pivot {
    path: LayerPath,
    /// Wildcards stand for one directory each, so that only their number is known.
    is_wild: bool,
}

impl Pivot {
    /// That of a source as it is written; the root without `/./`.
    pub(super) fn of(written: &str) -> Result<Self, Problem> {
        let before = written.find("/./").map_or("", |at| &written[..at]);
        let path = LayerPath::parse(format!("/{before}").as_bytes()).map_err(|_| Problem::Path(written.to_owned()))?;
        Ok(Self { path, is_wild: glob::is_wild(before) })
    }

    /// The directories between it and a path, the outermost first; the path itself is one of them if it is a directory.
    pub(super) fn dirs(&self, path: &LayerPath, is_dir: bool) -> Vec<LayerPath> {
        let count = path.components().count();
        let mut dirs = Vec::new();
        let mut next = if is_dir { Some(path.clone()) } else { path.parent() };
        while let Some(dir) = next.filter(|dir| dir.components().count() > self.skipped(path, count)) {
            next = dir.parent();
            dirs.push(dir);
        }
        dirs.reverse();
        dirs
    }

    /// A path, seen from it.
    pub(super) fn relative(&self, path: &LayerPath) -> String {
        let skipped = self.skipped(path, path.components().count());
        let parts = path.components().skip(skipped).map(String::from_utf8_lossy);
        parts.collect::<Vec<_>>().join("/")
    }

    /// How many parts of a path are the pivot's.
    fn skipped(&self, path: &LayerPath, count: usize) -> usize {
        let depth = self.path.components().count();
        if path.is_below(&self.path) || *path == self.path || self.is_wild { depth.min(count) } else { 0 }
    }
}
