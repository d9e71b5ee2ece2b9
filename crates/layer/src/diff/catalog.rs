//! Images compared by their layers' tars: nothing is mounted, so it works for images that this machine could not mount.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use strata_types::{Digest, Hasher, Watch};

use super::{Change, ChangeKind};
use crate::tar::Limits;
use crate::whiteout::{Meaning, meaning};
use crate::{Entry, Kind, LayerPath, LayerSink, Result, Vendor, unpack};

/// What the layers of an image come to: for each path a digest of all that is known about it, content included. Takes memory
/// for all names, and none for content.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// By the bytes of their path, so that what is in a directory stands together.
    nodes: BTreeMap<Vec<u8>, Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    path: LayerPath,
    what: Digest,
    is_dir: bool,
}

impl Catalog {
    /// Puts a layer on top: a tar, compressed or not.
    ///
    /// # Errors
    /// When it cannot be read, or is no layer.
    pub fn add(&mut self, tar: &mut dyn Read, limits: &Limits, watch: &dyn Watch) -> Result<()> {
        let (gone, found, vendor) = (Vec::new(), Vec::new(), Vec::new());
        let mut layer = Layer { below: self, gone, found, names: HashMap::new(), vendor, open: None };
        unpack(tar, &mut layer, limits, watch)?;
        let Layer { gone, found, .. } = layer;
        // Whiteouts speak of the layers below, wherever in the tar they stand.
        for whiteout in gone {
            match whiteout {
                Meaning::Removes(path) => self.remove(&path),
                Meaning::Opaque(path) => self.remove_below(&path),
                Meaning::Plain | Meaning::Ignored => {}
            }
        }
        for node in found {
            if !node.is_dir {
                self.remove_below(&node.path);
            }
            self.nodes.insert(node.path.as_bytes().to_vec(), node);
        }
        Ok(())
    }

    /// Lists how `newer` differs, sorted by path. Of a directory that is gone, only the directory.
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let mut changes = BTreeMap::new();
        for (path, node) in &newer.nodes {
            match self.nodes.get(path) {
                Some(before) if before == node => {}
                Some(_) => _ = changes.insert(node.path.clone(), ChangeKind::Changed),
                None => _ = changes.insert(node.path.clone(), ChangeKind::Added),
            }
        }
        for (path, node) in self.nodes.iter().filter(|(path, _)| !newer.nodes.contains_key(*path)) {
            let above = node.path.parent().filter(|dir| !dir.is_root());
            let dir_is_gone = above.is_some_and(|dir| {
                self.nodes.contains_key(dir.as_bytes())
                    && !newer.nodes.get(dir.as_bytes()).is_some_and(|now| now.is_dir)
            });
            if !dir_is_gone && !path.is_empty() {
                changes.insert(node.path.clone(), ChangeKind::Deleted);
            }
        }
        changes.into_iter().map(|(path, kind)| Change { path, kind }).collect()
    }

    fn remove(&mut self, path: &LayerPath) {
        self.nodes.remove(path.as_bytes());
        self.remove_below(path);
    }

    fn remove_below(&mut self, dir: &LayerPath) {
        if dir.is_root() {
            return self.nodes.clear();
        }
        // The byte after a slash is the digit zero.
        let (first, end) = ([dir.as_bytes(), b"/"].concat(), [dir.as_bytes(), b"0"].concat());
        let below: Vec<_> = self.nodes.range(first..end).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }
}

/// One layer on its way.
struct Layer<'a> {
    below: &'a Catalog,
    gone: Vec<Meaning>,
    found: Vec<Node>,
    /// Where in `found` the last of each name is.
    names: HashMap<LayerPath, usize>,
    /// About the entry that comes next.
    vendor: Vec<Vendor>,
    /// The file whose content is read, and what its digest is made of.
    open: Option<(Entry, Hasher)>,
}

impl LayerSink for Layer<'_> {
    fn vendor(&mut self, records: &[Vendor]) -> Result<()> {
        self.vendor = records.to_vec();
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, _data_offset: u64) -> Result<()> {
        let mut records = std::mem::take(&mut self.vendor);
        records.sort_unstable();
        let found = meaning(&entry.path)?;
        if found != Meaning::Plain {
            self.gone.push(found);
            return Ok(());
        }
        let mut hasher = Hasher::sha256();
        describe(entry, &records, &mut hasher);
        if let Kind::Hardlink { target } = &entry.kind
            && let Some(what) = self.known(target)
        {
            self.add(Node { path: entry.path.clone(), what, is_dir: false });
        } else if entry.is_file() {
            self.open = Some((entry.clone(), hasher));
        } else {
            self.add(Node { path: entry.path.clone(), what: hasher.finish(), is_dir: entry.is_dir() });
        }
        Ok(())
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        if let Some((entry, hasher)) = &mut self.open {
            // Where holes are matters, how content comes in pieces does not.
            if matches!(entry.kind, Kind::File { sparse: Some(_), .. }) {
                hasher.update(&offset.to_le_bytes());
            }
            hasher.update(chunk);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some((entry, hasher)) = self.open.take() {
            self.add(Node { path: entry.path, what: hasher.finish(), is_dir: false });
        }
        Ok(())
    }
}

impl Layer<'_> {
    fn add(&mut self, node: Node) {
        self.names.insert(node.path.clone(), self.found.len());
        self.found.push(node);
    }

    /// What is at a path, in this layer or below.
    fn known(&self, path: &LayerPath) -> Option<Digest> {
        let here = self.names.get(path).map(|at| &self.found[*at]);
        here.or_else(|| self.below.nodes.get(path.as_bytes())).map(|node| node.what.clone())
    }
}

/// Everything about an entry but its name and its content.
fn describe(entry: &Entry, records: &[Vendor], hasher: &mut Hasher) {
    let Entry { path: _, kind, mode, uid, gid, mtime, xattrs } = entry;
    let kind = match kind {
        Kind::File { size_bytes, .. } => format!("file {size_bytes}"),
        other => format!("{other:?}"),
    };
    let head = format!("{kind} {mode} {uid} {gid} {} {}", mtime.seconds, mtime.nanoseconds);
    let xattrs = xattrs.iter().map(|xattr| (&xattr.name, &xattr.value));
    let pairs = xattrs.chain(records.iter().map(|record| (&record.key, &record.value)));
    let parts = [head.as_bytes()].into_iter().chain(pairs.flat_map(|(name, value)| [&name[..], &value[..]]));
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_testkit::tar::Tar;
    use strata_types::Silent;

    fn catalog(layers: &[Tar]) -> Catalog {
        let mut catalog = Catalog::default();
        for layer in layers {
            catalog.add(&mut &*layer.clone().finish(), &Limits::GENEROUS, &Silent).unwrap();
        }
        catalog
    }

    fn check(old: &[Tar], new: &[Tar], expected: &[&str]) {
        let changes = catalog(old).changes(&catalog(new));
        let letter = |kind| match kind {
            ChangeKind::Changed => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        let shown: Vec<_> = changes.iter().map(|change| format!("{} {}", letter(change.kind), change.path)).collect();
        assert_eq!(shown, expected);
    }

    fn base() -> Tar {
        Tar::new()
            .dir("etc/")
            .file("etc/motd", 0o644, b"hello")
            .file("etc-old", 0o644, b"")
            .dir("usr/")
            .dir("usr/share/")
            .file("usr/share/a", 0o644, b"a")
            .hardlink("usr/share/b", "usr/share/a")
    }

    #[test]
    fn what_differs_is_told() {
        check(&[base()], &[base()], &[]);
        let top = Tar::new()
            .file("etc/motd", 0o644, b"world")
            .file("etc/new", 0o644, b"")
            .file(".wh.usr", 0o644, b"")
            .file("etc/.wh.none", 0o644, b"");
        check(&[base()], &[base(), top.clone()], &["C /etc/motd", "A /etc/new", "D /usr"]);
        check(
            &[base(), top],
            &[base()],
            &["C /etc/motd", "D /etc/new", "A /usr", "A /usr/share", "A /usr/share/a", "A /usr/share/b"],
        );
    }

    #[test]
    fn the_same_file_again_is_no_difference_and_its_attributes_are_one() {
        check(&[base()], &[base(), Tar::new().file("etc/motd", 0o644, b"hello")], &[]);
        check(&[base()], &[base(), Tar::new().file("etc/motd", 0o600, b"hello")], &["C /etc/motd"]);
        check(&[base()], &[base(), Tar::new().pax(&[("SCHILY.xattr.user.a", b"1")]).dir("etc/")], &["C /etc"]);
        let hidden = Tar::new().pax(&[("MSWINDOWS.fileattr", b"2")]).dir("etc/");
        check(&[base()], &[base(), hidden], &["C /etc"]);
        check(&[base()], &[base(), Tar::new().hardlink("etc/motd2", "etc/motd")], &["A /etc/motd2"]);
    }

    #[test]
    fn directories_are_hidden_emptied_and_replaced() {
        let opaque = Tar::new().dir("etc/").file("etc/.wh..wh..opq", 0o644, b"").file("etc/x", 0o644, b"");
        check(&[base()], &[base(), opaque], &["D /etc/motd", "A /etc/x"]);
        check(&[base()], &[base(), Tar::new().file("usr", 0o644, b"")], &["C /usr"]);
        check(&[base()], &[], &["D /etc", "D /etc-old", "D /usr"]);
    }
}
