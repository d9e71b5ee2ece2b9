//! A filesystem in memory, the oracle: what any driver must show.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{FileType, Mode, OFlags};
use strata_sys::root_dir::RootDir;

/// A tree by path.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Model(BTreeMap<String, Node>);

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Dir,
    File(Vec<u8>),
    Symlink(String),
}

/// Something a program does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write(String, Vec<u8>),
    MakeDir(String),
    Symlink(String, String),
    Remove(String),
    RemoveTree(String),
    Rename(String, String),
}

impl Step {
    /// Acts on few names, so that they meet.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let path = || {
            prop::sample::select(vec!["d0", "d1", "d0/f0", "d0/f1", "d0/d2", "d0/d2/f0", "d1/f0", "d1/d2", "f0", "f1"])
        };
        let path = move || path().prop_map(str::to_owned);
        let content = prop::collection::vec(any::<u8>(), 0..2000);
        prop_oneof![
            (path(), content).prop_map(|(path, content)| Self::Write(path, content)),
            path().prop_map(Self::MakeDir),
            (path(), path()).prop_map(|(path, target)| Self::Symlink(path, target)),
            path().prop_map(Self::Remove),
            path().prop_map(Self::RemoveTree),
            (path(), path()).prop_map(|(from, to)| Self::Rename(from, to)),
        ]
    }

    /// Does it; says whether it could be done.
    pub(crate) fn really(&self, root: &RootDir) -> bool {
        let nofollow = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        match self {
            Self::Write(path, content) => parent(root, path).is_some_and(|(dir, name)| {
                rustix::fs::openat(dir, name, nofollow, Mode::from_raw_mode(0o644))
                    .is_ok_and(|file| std::fs::File::from(file).write_all(content).is_ok())
            }),
            Self::MakeDir(path) => parent(root, path)
                .is_some_and(|(dir, name)| rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)).is_ok()),
            Self::Symlink(path, target) => {
                parent(root, path).is_some_and(|(dir, name)| rustix::fs::symlinkat(target.as_str(), dir, name).is_ok())
            }
            Self::Remove(path) => parent(root, path).is_some() && root.remove(Path::new(path)).unwrap_or(false),
            Self::RemoveTree(path) => parent(root, path).is_some() && remove_tree(root, Path::new(path)),
            Self::Rename(from, to) => match (parent(root, from), parent(root, to)) {
                (Some((from_dir, from)), Some((to_dir, to))) => really_rename(root, self, &from_dir, from, &to_dir, to),
                _ => false,
            },
        }
    }

    /// Does it in the model; says whether it could be done.
    pub(crate) fn in_model(&self, model: &mut Model) -> bool {
        match self {
            Self::Write(path, content) => match model.0.get(path) {
                Some(Node::File(_)) | None if model.has_parent(path) => {
                    model.0.insert(path.clone(), Node::File(content.clone()));
                    true
                }
                _ => false,
            },
            Self::MakeDir(path) => model.make(path, Node::Dir),
            Self::Symlink(path, target) => model.make(path, Node::Symlink(target.clone())),
            Self::Remove(path) => {
                let empty = !model.0.keys().any(|other| other.starts_with(&format!("{path}/")));
                empty && model.0.remove(path).is_some()
            }
            Self::RemoveTree(path) => {
                let there = model.0.contains_key(path);
                model.0.retain(|other, _| other != path && !other.starts_with(&format!("{path}/")));
                there
            }
            Self::Rename(from, to) => model.rename(from, to),
        }
    }
}

impl Model {
    /// Puts something there.
    pub(crate) fn put(&mut self, path: &str, node: Node) {
        self.0.insert(path.to_owned(), node);
    }

    fn has_parent(&self, path: &str) -> bool {
        path.rsplit_once('/').is_none_or(|(dir, _)| self.0.get(dir) == Some(&Node::Dir))
    }

    fn make(&mut self, path: &str, node: Node) -> bool {
        let can = self.has_parent(path) && !self.0.contains_key(path);
        if can {
            self.put(path, node);
        }
        can
    }

    /// Files only, over files or nothing: what all drivers can do. Directories are moved by their users with copies, because
    /// overlayfs refuses to rename one that comes from a layer.
    fn rename(&mut self, from: &str, to: &str) -> bool {
        let over = matches!(self.0.get(to), None | Some(Node::File(_) | Node::Symlink(_)));
        let can = over && self.has_parent(to) && matches!(self.0.get(from), Some(Node::File(_) | Node::Symlink(_)));
        if can && from != to {
            let node = self.0.remove(from).unwrap();
            self.put(to, node);
        }
        can
    }
}

/// Reads a whole tree.
pub(crate) fn read(root: &RootDir) -> Model {
    let mut model = Model::default();
    let mut open = vec![String::new()];
    while let Some(dir) = open.pop() {
        for (name, kind) in root.list(Path::new(&dir)).unwrap() {
            let name = name.into_string().unwrap();
            if dir.is_empty() && matches!(name.as_str(), "dev" | "etc" | "proc" | "sys") {
                // What every running container has something mounted on.
                continue;
            }
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let node = match kind {
                FileType::Directory => {
                    open.push(path.clone());
                    Node::Dir
                }
                FileType::Symlink => Node::Symlink(root.read_link(Path::new(&path)).unwrap().display().to_string()),
                _ => {
                    let mut content = Vec::new();
                    root.open_file(Path::new(&path)).unwrap().read_to_end(&mut content).unwrap();
                    Node::File(content)
                }
            };
            model.put(&path, node);
        }
    }
    model
}

/// The directory that holds a path, unless a symbolic link is on the way: the model does not follow them.
fn parent<'p>(root: &RootDir, path: &'p str) -> Option<(rustix::fd::OwnedFd, &'p str)> {
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    let mut above = String::new();
    for part in dir.split('/') {
        above = if above.is_empty() { part.to_owned() } else { format!("{above}/{part}") };
        let stat = root.lstat(Path::new(&above)).unwrap()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return None;
        }
    }
    Some((root.open(Path::new(dir), OFlags::PATH).unwrap(), name))
}

fn really_rename(
    root: &RootDir,
    step: &Step,
    from_dir: &rustix::fd::OwnedFd,
    from: &str,
    to_dir: &rustix::fd::OwnedFd,
    to: &str,
) -> bool {
    let Step::Rename(from_path, to_path) = step else { return false };
    let kind = |path: &str| root.lstat(Path::new(path)).unwrap().map(|stat| FileType::from_raw_mode(stat.st_mode));
    let is_dir = |kind: Option<FileType>| kind == Some(FileType::Directory);
    if is_dir(kind(from_path)) || is_dir(kind(to_path)) {
        return false;
    }
    rustix::fs::renameat(from_dir, from, to_dir, to).is_ok()
}

fn remove_tree(root: &RootDir, path: &Path) -> bool {
    let Some(stat) = root.lstat(path).unwrap() else { return false };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        for (name, _) in root.list(path).unwrap() {
            remove_tree(root, &path.join(name));
        }
    }
    root.remove(path).unwrap()
}
