//! `--squash`: the layers that a build added, as one.
//!
//! Which paths there are is what the layers name; what is there is the tree that they make. What a later layer took away of an
//! earlier one is in neither; what was taken away of the base is a whiteout for each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Instant;

use rustix::fs::FileType;
use strata_dockerfile::Ignore;
use strata_engine::workbench::{Layer, Workbench};
use strata_layer::whiteout::{self, Meaning};
use strata_layer::{Entry, Kind, LayerPath, LayerSink, Time, dir};
use strata_sys::root_dir::RootDir;
use strata_types::config::History;
use strata_types::{DiffId, Watch};

use crate::base::Base;
use crate::copy::{Content, TarStream, Tree, at};
use crate::error::{Problem, read};
use crate::graph::Build;
use crate::request::Outcome;

/// How deep directories of a base are looked into.
const DEPTH_MAX: usize = 512;

impl Build<'_> {
    /// What was built, with one layer if that is wanted. It is a step of its own.
    pub(crate) fn squashed(&self, base: &Base) -> Result<Base, Problem> {
        if !self.request.squash {
            return Ok(base.clone());
        }
        let (number, began) = (self.number(), Instant::now());
        self.observer.begin(number, "squashing layers");
        let times = (self.newest(), self.epoch_or(self.began));
        let squashed = squash(self.bench, base, times, self);
        let outcome = if squashed.is_ok() { Outcome::Done } else { Outcome::Failed };
        self.observer.end(number, outcome, began.elapsed());
        squashed
    }
}

/// Makes one layer of all that were added; there is none if they come to nothing.
fn squash(
    bench: &Workbench<'_>,
    from: &Base,
    (newest, now): (Option<Time>, jiff::Timestamp),
    watch: &dyn Watch,
) -> Result<Base, Problem> {
    let below = from.layers.len() - from.added.len();
    if from.added.len() < 2 {
        return Ok(from.clone());
    }
    let mut named = Named::default();
    for length in below + 1..=from.layers.len() {
        bench.read_layer(&from.layers[..length], &mut named, watch)?;
    }
    let (old, new) = (bench.tree(&from.layers[..below])?, bench.tree(&from.layers)?);
    let nothing = Ignore::default();
    let tree = Tree { root: &new, ignore: &nothing, is_host: false, stamps: None };
    let mut entries = named.entries(&old, tree)?;
    if let Some(newest) = newest {
        entries.iter_mut().for_each(|(entry, _)| entry.mtime = entry.mtime.min(newest));
    }
    let layer = bench.add_layer(&from.layers[..below], &mut TarStream::new(entries), watch)?;
    Ok(with_layer(from, below, layer, now))
}

/// The config and layers when all that was added is this layer.
fn with_layer(from: &Base, below: usize, layer: Option<Layer>, now: jiff::Timestamp) -> Base {
    let mut squashed = from.clone();
    squashed.layers.truncate(below);
    squashed.layers.extend(layer.iter().map(|layer: &Layer| layer.diff_id.clone()));
    squashed.added = layer.iter().cloned().collect();
    let config = &mut squashed.config;
    let base_layers = config.rootfs.diff_ids.len() - from.added.len();
    let diff_ids: &mut Vec<DiffId> = &mut config.rootfs.diff_ids;
    diff_ids.truncate(base_layers);
    diff_ids.extend(layer.iter().map(|layer| layer.diff_id.clone()));
    let mut left = base_layers;
    for step in config.history.iter_mut().filter(|step| !step.empty_layer) {
        match left.checked_sub(1) {
            Some(less) => left = less,
            None => step.empty_layer = true,
        }
    }
    let comment = format!("{} layers as one", from.added.len());
    let empty_layer = layer.is_none();
    config.history.push(History { created: Some(now.to_string()), comment, empty_layer, ..History::default() });
    squashed
}

/// What layers name.
#[derive(Debug, Default)]
struct Named {
    paths: BTreeSet<LayerPath>,
    /// What is gone, or hides what was below: something of the base may be missing there.
    hidden: BTreeSet<LayerPath>,
}

impl LayerSink for Named {
    fn entry(&mut self, entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        match whiteout::meaning(&entry.path)? {
            Meaning::Plain => _ = self.paths.insert(entry.path.clone()),
            Meaning::Removes(path) | Meaning::Opaque(path) => _ = self.hidden.insert(path),
            Meaning::Ignored => {}
        }
        Ok(())
    }
}

impl Named {
    fn entries<'t>(self, old: &RootDir, tree: Tree<'t>) -> Result<Vec<(Entry, Content<'t>)>, Problem> {
        let mut entries: BTreeMap<LayerPath, (Entry, Content<'t>)> = BTreeMap::new();
        let mut first_names: HashMap<(u64, u64), LayerPath> = HashMap::new();
        let (mut gone, mut dirs) = (BTreeSet::new(), Dirs::default());
        for path in self.paths.iter().filter(|path| !path.is_root()) {
            // Below what is a link now nothing is left of what was there.
            if !dirs.reach(tree.root, path)? {
                continue;
            }
            let Some(mut entry) = dir::entry_at(tree.root.as_fd(), path)? else {
                gone.insert(path.clone());
                continue;
            };
            entry.path = path.clone();
            let mut content = if entry.is_file() { Content::Of(tree, path.clone()) } else { Content::None };
            if let Some(inode) = several_names(tree.root, path)? {
                match first_names.get(&inode) {
                    Some(first) => (entry.kind, content) = (Kind::Hardlink { target: first.clone() }, Content::None),
                    None => _ = first_names.insert(inode, path.clone()),
                }
            }
            entries.insert(path.clone(), (entry, content));
        }
        for path in &self.hidden {
            if dirs.reach(tree.root, path)? {
                missing(old, tree.root, path, 0, &mut gone)?;
            }
        }
        for path in &gone {
            let is_covered = path.parent().is_some_and(|parent| gone.contains(&parent));
            let was_there = |path: &LayerPath| Ok::<_, Problem>(dir::entry_at(old.as_fd(), path)?);
            if !is_covered
                && let Some(entry) = was_there(path)?
                && let Some(mark) = whiteout::oci_file(path, entry.mtime)?
            {
                entries.insert(mark.path.clone(), (mark, Content::None));
            }
        }
        Ok(entries.into_values().collect())
    }
}

/// Which directories of a tree are reached without following a link.
#[derive(Debug, Default)]
struct Dirs(HashMap<LayerPath, bool>);

impl Dirs {
    /// Whether all above a path are directories.
    fn reach(&mut self, root: &RootDir, path: &LayerPath) -> Result<bool, Problem> {
        let Some(parent) = path.parent().filter(|parent| !parent.is_root()) else { return Ok(true) };
        if let Some(known) = self.0.get(&parent) {
            return Ok(*known);
        }
        let is_dir = self.reach(root, &parent)? && dir::entry_at(root.as_fd(), &parent)?.is_some_and(|it| it.is_dir());
        self.0.insert(parent, is_dir);
        Ok(is_dir)
    }
}

/// Adds what of a path of the old tree is not in the new one.
fn missing(
    old: &RootDir,
    new: &RootDir,
    path: &LayerPath,
    depth: usize,
    gone: &mut BTreeSet<LayerPath>,
) -> Result<(), Problem> {
    if depth > DEPTH_MAX || dir::entry_at(old.as_fd(), path)?.is_none() {
        return Ok(());
    }
    let Some(entry) = dir::entry_at(new.as_fd(), path)? else {
        gone.insert(path.clone());
        return Ok(());
    };
    let was_dir = dir::entry_at(old.as_fd(), path)?.is_some_and(|entry| entry.is_dir());
    if !entry.is_dir() || !was_dir {
        return Ok(());
    }
    for (name, _) in old.list(at(path)).map_err(read(path.to_string()))? {
        let below = path.join(name.as_encoded_bytes()).map_err(|_| Problem::Path(path.to_string()))?;
        missing(old, new, &below, depth + 1, gone)?;
    }
    Ok(())
}

/// The device and inode of a file that has several names.
fn several_names(root: &RootDir, path: &LayerPath) -> Result<Option<(u64, u64)>, Problem> {
    let stat = root.lstat(Path::new(at(path))).map_err(read(path.to_string()))?;
    let stat = stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink > 1);
    Ok(stat.map(|stat| (stat.st_dev, stat.st_ino)))
}
