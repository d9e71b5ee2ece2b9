//! COPY and ADD: files become a layer on top of what there is.
//!
//! ```text
//! tree.rs     what is copied from, and what a source names there      glob.rs its wildcards
//! pivot.rs    --parents
//! layout.rs   where everything comes to lie
//! stream.rs   the layer's tar
//! owner.rs    --chown and --chmod
//! resolve.rs  links on the way to the destination
//! ```

mod glob;
mod layout;
mod owner;
mod pivot;
pub(crate) mod resolve;
mod stream;
mod tree;

use strata_dockerfile::{Copying, Ignore};
use strata_layer::{Entry, Kind, LayerPath, Time};
use strata_sys::root_dir::RootDir;

use crate::error::Problem;
use crate::key::Key;
pub(crate) use layout::Layout;
use layout::Piece;
use owner::Mode;
pub(crate) use owner::Owner;
pub(crate) use stream::{Content, TarStream};
use tree::{Item, Source};
pub(crate) use tree::{Tree, at};

/// What is to be copied, found but not read.
pub(crate) struct Found {
    /// What each source names, with the source as it was written.
    sources: Vec<(String, Vec<Source>)>,
    /// Files of the Dockerfile itself.
    inline: Vec<(String, Vec<u8>)>,
}

/// What was found in one tree.
pub(crate) struct Part<'p, 't> {
    /// What.
    pub(crate) found: &'p Found,
    /// Where.
    pub(crate) tree: Option<Tree<'t>>,
    /// The archives in it that are unpacked.
    pub(crate) unpacked: Vec<(LayerPath, Tree<'t>)>,
}

/// Where it is to go, and how.
pub(crate) struct Destination<'a> {
    /// The instruction, its variables replaced.
    pub(crate) copying: &'a Copying,
    /// Its name.
    pub(crate) name: &'static str,
    /// What a relative path is relative to.
    pub(crate) working_dir: &'a str,
    /// The tree it goes on top of.
    pub(crate) base: Option<&'a RootDir>,
    /// The time of what has none.
    pub(crate) now: Time,
    /// No time is later.
    pub(crate) newest: Option<Time>,
}

impl Found {
    /// Finds what the instruction names. Without a tree there is nothing but what stands in the Dockerfile.
    pub(crate) fn new(
        copying: &Copying,
        tree: Option<Tree<'_>>,
        inline: Vec<(String, Vec<u8>)>,
    ) -> Result<Self, Problem> {
        Self::of(copying, &copying.sources, tree, inline)
    }

    /// Finds some of what it names.
    pub(crate) fn of(
        copying: &Copying,
        sources: &[String],
        tree: Option<Tree<'_>>,
        inline: Vec<(String, Vec<u8>)>,
    ) -> Result<Self, Problem> {
        let exclude = Ignore::of_patterns(&copying.exclude);
        let exclude = exclude.map_err(|source| Problem::Ignore { what: "invalid --exclude", source })?;
        let select = |source: &String| match &tree {
            Some(tree) => Ok((source.clone(), tree.select(source, &exclude, copying.parents)?)),
            None => Err(nowhere(source)),
        };
        Ok(Self { sources: sources.iter().map(select).collect::<Result<_, _>>()?, inline })
    }

    /// Adds all that counts to a key: content, kind, permissions and owner, not times.
    pub(crate) fn read_into(&self, key: &mut Key, tree: Option<Tree<'_>>) -> Result<(), Problem> {
        for (written, sources) in &self.sources {
            key.part("source", written);
            for source in sources {
                key.part("name", &source.name);
                key.part("kind", if source.dir.is_some() { "directory" } else { "file" });
                for item in source.dir.iter().chain(&source.items) {
                    item_into(key, item, tree)?;
                }
                for dir in &source.above {
                    key.part("above", dir.at.as_bytes());
                    item_into(key, dir, tree)?;
                }
            }
        }
        for (name, text) in &self.inline {
            key.part("inline", name);
            key.part("text", text);
        }
        Ok(())
    }

    /// The name of the one thing that was found, if it is no directory.
    pub(crate) fn single_name(&self) -> Option<String> {
        match &self.sources[..] {
            [(_, sources)] if sources.len() == 1 && sources[0].dir.is_none() => {
                Some(String::from_utf8_lossy(&sources[0].name).into_owned())
            }
            _ => None,
        }
    }

    /// How many things were found; the directories that one wildcard finds are one.
    fn count(&self) -> usize {
        let of_source = |(_, sources): &(String, Vec<Source>)| match sources.iter().all(|source| source.dir.is_some()) {
            true => sources.len().min(1),
            false => sources.len(),
        };
        self.sources.iter().map(of_source).sum::<usize>() + self.inline.len()
    }

    /// The files that are sources of their own, with where they are.
    pub(crate) fn files(&self) -> impl Iterator<Item = &LayerPath> {
        let sources = self.sources.iter().flat_map(|(_, sources)| sources);
        sources.filter(|source| source.dir.is_none()).map(|source| &source.path)
    }

    /// Lays the files out.
    pub(crate) fn lay_out<'t>(&self, tree: Option<Tree<'t>>, to: &Destination<'t>) -> Result<TarStream<'t>, Problem> {
        Part::lay_out(&[Part { found: self, tree, unpacked: Vec::new() }], to)
    }
}

impl<'t> Part<'_, 't> {
    /// Lays the files of all parts out.
    pub(crate) fn lay_out(parts: &[Self], to: &Destination<'t>) -> Result<TarStream<'t>, Problem> {
        let Destination { copying, name, base, now, newest, .. } = *to;
        let owner = Some(&copying.chown).filter(|chown| !chown.is_empty());
        let owner = owner.zip(base).map(|(chown, base)| Owner::parse(chown, base)).transpose()?;
        let mode = Some(&copying.chmod).filter(|chmod| !chmod.is_empty());
        let mode = mode.map(|chmod| Mode::parse(chmod)).transpose()?;
        let dress = |mut entry: Entry| {
            if let Some(Owner { uid, gid }) = owner {
                (entry.uid, entry.gid) = (uid, gid);
            }
            if let Some(mode) = mode.as_ref().filter(|_| !matches!(entry.kind, Kind::Symlink { .. })) {
                entry.mode = mode.apply(entry.mode, entry.is_dir());
            }
            entry
        };
        let written = absolute(to.working_dir, &copying.target);
        let ends_in_dir = copying.target.ends_with('/') || copying.target == "." || copying.target.ends_with("/.");
        // A linked layer does not depend on what is below it.
        let below = base.filter(|_| !copying.link);
        let target = match below {
            Some(base) => resolve::resolve(base, written.as_bytes()).map_err(crate::error::read(&written))?,
            None => LayerPath::parse(written.as_bytes()).map_err(|_| Problem::Path(written.clone()))?,
        };
        let dir_mode = mode.as_ref().and_then(Mode::of_new_dirs).unwrap_or(Layout::DIR_MODE);
        let mut layout = Layout::new(below, (owner.unwrap_or(Owner::ROOT), dir_mode), now);
        let count = parts.iter().map(|part| part.found.count()).sum::<usize>();
        let is_dir = ends_in_dir || layout.is_dir(&target)? || copying.parents;
        if count > 1 && !is_dir {
            return Err(Problem::ManyToOne(name));
        }
        if is_dir {
            layout.ensure_dir(&target)?;
        }
        for part in parts {
            part.place(&mut layout, (&target, is_dir), copying.parents, &dress)?;
            for (name, text) in &part.found.inline {
                let path = if is_dir { join(&target, name.as_bytes())? } else { target.clone() };
                let kind = Kind::File { size_bytes: text.len() as u64, sparse: None };
                let entry = Entry { kind, mode: 0o644, mtime: now, ..Entry::implicit_dir(LayerPath::root()) };
                layout.place(path, Piece { entry: dress(entry), content: Content::Text(text.clone()), inode: None })?;
            }
        }
        Ok(layout.into_tar(newest))
    }

    /// Places what the sources name.
    fn place(
        &self,
        layout: &mut Layout<'t>,
        (target, is_dir): (&LayerPath, bool),
        parents: bool,
        dress: &dyn Fn(Entry) -> Entry,
    ) -> Result<(), Problem> {
        for (written, sources) in &self.found.sources {
            for source in sources {
                let tree = self.tree.ok_or_else(|| nowhere(written))?;
                if let Some((_, inside)) = self.unpacked.iter().find(|(path, _)| *path == source.path) {
                    layout.ensure_dir(target)?;
                    for all in inside.select("/", &Ignore::default(), false)? {
                        place(layout, &all, *inside, (target, true), dress)?;
                    }
                    continue;
                }
                let target = if parents { with_parents(layout, target, source, dress)? } else { target.clone() };
                // As with BuildKit it is what is in a directory that is copied: the one that it comes into is new.
                if source.dir.is_some() && !parents {
                    layout.ensure_dir(&target)?;
                }
                place(layout, source, tree, (&target, is_dir), dress)?;
            }
        }
        Ok(())
    }
}

/// Files where there are none at all.
fn nowhere(source: &str) -> Problem {
    let hint = "there is no build context, only a Dockerfile: name a directory instead of -".to_owned();
    Problem::NotFound { path: crate::meant::path(source), hint }
}

/// Places what one source names: what is in a directory, or a file in or as the target.
fn place<'t>(
    layout: &mut Layout<'t>,
    source: &Source,
    tree: Tree<'t>,
    (target, is_dir): (&LayerPath, bool),
    dress: &dyn Fn(Entry) -> Entry,
) -> Result<(), Problem> {
    let from_dir = source.dir.is_some();
    // A directory that is not there yet becomes like that it is copied from.
    if let Some(dir) = &source.dir
        && !layout.is_dir(target)?
    {
        layout.place(target.clone(), Piece { entry: dress(dir.entry.clone()), content: Content::None, inode: None })?;
    }
    for item in &source.items {
        let path = match (from_dir, is_dir) {
            (true, _) => below(target, &item.entry.path)?,
            (false, true) => join(target, &source.name)?,
            (false, false) => target.clone(),
        };
        let content = if item.entry.is_file() { Content::Of(tree, item.at.clone()) } else { Content::None };
        layout.place(path, Piece { entry: dress(item.entry.clone()), content, inode: item.inode })?;
    }
    Ok(())
}

/// Where a source goes with `--parents`, after the directories that come along. As with BuildKit, those that are there
/// already get their permissions.
fn with_parents(
    layout: &mut Layout<'_>,
    target: &LayerPath,
    source: &Source,
    dress: &dyn Fn(Entry) -> Entry,
) -> Result<LayerPath, Problem> {
    let mut path = target.clone();
    for dir in &source.above {
        path = join(&path, dir.at.name().unwrap_or_default())?;
        if layout.is_dir(&path)? {
            layout.set_mode(&path, dir.entry.mode)?;
        } else {
            let entry = dress(dir.entry.clone());
            layout.place(path.clone(), Piece { entry, content: Content::None, inode: None })?;
        }
    }
    Ok(path)
}

fn item_into(key: &mut Key, item: &Item, tree: Option<Tree<'_>>) -> Result<(), Problem> {
    let Entry { path, kind, mode, uid, gid, xattrs, .. } = &item.entry;
    key.part("path", path.as_bytes());
    key.part("owner", format!("{mode:o} {uid} {gid}"));
    for xattr in xattrs {
        key.part("xattr", &xattr.name);
        key.part("value", &xattr.value);
    }
    match (kind, tree) {
        (Kind::File { .. }, Some(tree)) => key.part("file", tree.digest(item)?.to_string()),
        (Kind::Symlink { target }, _) => key.part("link", target),
        (kind, _) => key.part("other", format!("{kind:?}")),
    }
    Ok(())
}

fn join(dir: &LayerPath, name: &[u8]) -> Result<LayerPath, Problem> {
    dir.join(name).map_err(|_| Problem::Path(format!("{dir}/{}", String::from_utf8_lossy(name))))
}

fn below(dir: &LayerPath, path: &LayerPath) -> Result<LayerPath, Problem> {
    path.components().try_fold(dir.clone(), |dir, part| join(&dir, part))
}

/// A path of an instruction, seen from the working directory.
pub(crate) fn absolute(working_dir: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let dir = if working_dir.is_empty() { "/" } else { working_dir };
    format!("{}/{path}", dir.trim_end_matches('/'))
}
