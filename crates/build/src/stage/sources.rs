//! What COPY and ADD copy: files of one tree, and what ADD fetches, each a tree of its own.

use std::cell::OnceCell;

use strata_dockerfile::{Copying, Ignore};
use strata_layer::LayerPath;
use strata_sys::root_dir::RootDir;

use super::copy::Opened;
use crate::archive;
use crate::copy::{Found, Part, Tree};
use crate::error::{Problem, read};
use crate::graph::{Build, Files};
use crate::key::Key;
use crate::remote::{Remote, Wish};

/// The sources of one instruction, fetched and found when they are first looked at.
pub(super) struct Sources<'s> {
    copying: &'s Copying,
    files: &'s Files<'s>,
    opened: Opened,
    groups: Vec<Group>,
    unpacks: Option<bool>,
    anew: bool,
    nothing: Ignore,
}

/// Sources that come from one tree.
struct Group {
    sources: Vec<String>,
    inline: Vec<(String, Vec<u8>)>,
    remote: Option<Remote>,
    fetched: OnceCell<Fetched>,
    found: OnceCell<Found>,
}

/// What was fetched.
struct Fetched {
    root: RootDir,
    path: String,
    time: i64,
}

/// The archives of each group that are unpacked.
pub(super) type Archives = Vec<Vec<(LayerPath, RootDir)>>;

impl<'s> Sources<'s> {
    /// Sorts the sources; refuses a checksum of what can have none: nobody shall believe that it was compared.
    pub(super) fn new(
        copying: &'s Copying,
        name: &str,
        files: &'s Files<'s>,
        inline: &[(String, Vec<u8>)],
        anew: bool,
    ) -> Result<Self, Problem> {
        let remote = |source: &String| match Remote::of_source(source)? {
            Some(remote) if name != "ADD" => Err(Problem::Source { kind: remote.kind() }),
            remote => Ok(remote),
        };
        let mut groups: Vec<Group> = Vec::new();
        for source in &copying.sources {
            let remote = remote(source)?;
            match groups.last_mut() {
                Some(group) if group.remote.is_none() && remote.is_none() => group.sources.push(source.clone()),
                _ => groups.push(Group::new(vec![source.clone()], remote)),
            }
        }
        if !copying.checksum.is_empty() {
            let refuse = |why: &str| Err(Problem::Unsupported(why.to_owned()));
            match &groups[..] {
                [group] if group.remote.is_some() => {}
                [_] if copying.sources.len() == 1 => return refuse("checksum requires HTTP(S) or Git sources"),
                _ => return refuse("checksum can't be specified for multiple sources"),
            }
        }
        if groups.is_empty() {
            groups.push(Group::new(Vec::new(), None));
        }
        if let Some(last) = groups.last_mut() {
            last.inline = inline.to_vec();
        }
        let unpacks = if name == "ADD" { copying.unpack } else { Some(false) };
        let (opened, nothing) = (Opened::default(), Ignore::default());
        Ok(Self { copying, files, opened, groups, unpacks, anew, nothing })
    }

    /// Adds all that counts to a key.
    pub(super) fn read_into(&self, key: &mut Key, build: &Build<'_>) -> Result<(), Problem> {
        for group in &self.groups {
            let tree = self.tree(group, build)?;
            self.found(group, build)?.read_into(key, tree)?;
            if let Some(fetched) = group.fetched.get() {
                key.part("time", fetched.time.to_string());
            }
        }
        Ok(())
    }

    /// The archives among the sources, each as a tree. What was fetched is unpacked only if that was said.
    pub(super) fn archives(&self, build: &Build<'_>) -> Result<Archives, Problem> {
        let of_group = |group: &Group| {
            if !self.unpacks.unwrap_or(group.remote.is_none()) {
                return Ok(Vec::new());
            }
            let Some(tree) = self.tree(group, build)? else { return Ok(Vec::new()) };
            unpack(build, self.found(group, build)?, tree)
        };
        self.groups.iter().map(of_group).collect()
    }

    /// All parts, with the archives that are unpacked.
    pub(super) fn parts<'p>(&'p self, build: &Build<'_>, archives: &'p Archives) -> Result<Vec<Part<'p, 'p>>, Problem> {
        let inside = |(path, root): &'p (LayerPath, RootDir)| {
            (path.clone(), Tree { root, ignore: &self.nothing, is_host: false, stamps: None })
        };
        let part = |(group, archives): (&'p Group, &'p Vec<(LayerPath, RootDir)>)| {
            let (tree, found) = (self.tree(group, build)?, self.found(group, build)?);
            Ok(Part { found, tree, unpacked: archives.iter().map(inside).collect() })
        };
        self.groups.iter().zip(archives).map(part).collect()
    }

    fn tree<'t>(&'t self, group: &'t Group, build: &Build<'_>) -> Result<Option<Tree<'t>>, Problem> {
        let Some(fetched) = self.fetched(group, build)? else {
            return if group.sources.is_empty() { Ok(None) } else { self.opened.tree(self.files, build) };
        };
        Ok(Some(Tree { root: &fetched.root, ignore: &self.nothing, is_host: false, stamps: None }))
    }

    fn found<'t>(&'t self, group: &'t Group, build: &Build<'_>) -> Result<&'t Found, Problem> {
        if let Some(found) = group.found.get() {
            return Ok(found);
        }
        let tree = self.tree(group, build)?;
        let found = match self.fetched(group, build)? {
            Some(fetched) => {
                let sources = [fetched.path.clone()];
                Found::of(self.copying, &sources, tree, group.inline.clone())?
            }
            None => Found::of(self.copying, &group.sources, tree, group.inline.clone())?,
        };
        Ok(group.found.get_or_init(|| found))
    }

    fn fetched<'t>(&self, group: &'t Group, build: &Build<'_>) -> Result<Option<&'t Fetched>, Problem> {
        let Some(remote) = &group.remote else { return Ok(None) };
        if group.fetched.get().is_none() {
            let copying = self.copying;
            let authorization = remote.authorization(&build.request.secrets)?;
            let (checksum, keep_git_dir) = (&copying.checksum, copying.keep_git_dir);
            let wish = Wish { checksum, keep_git_dir, anew: self.anew, authorization };
            let fetched = remote.fetch(build.bench, &wish, build)?;
            let root = build.bench.tree(&fetched.layers)?;
            let tree = Fetched { root, path: fetched.path, time: fetched.time };
            group.fetched.get_or_init(|| tree);
        }
        Ok(group.fetched.get())
    }
}

impl Group {
    fn new(sources: Vec<String>, remote: Option<Remote>) -> Self {
        Self { sources, inline: Vec::new(), remote, fetched: OnceCell::new(), found: OnceCell::new() }
    }
}

fn unpack(build: &Build<'_>, found: &Found, tree: Tree<'_>) -> Result<Vec<(LayerPath, RootDir)>, Problem> {
    let mut unpacked = Vec::new();
    for path in found.files() {
        let shown = path.to_string();
        let Some(mut tar) = archive::open(tree.open(path).map_err(read(&shown))?, &shown)? else { continue };
        let layer = build.bench.add_layer(&[], &mut *tar, build)?;
        let layers: Vec<_> = layer.into_iter().map(|layer| layer.diff_id).collect();
        unpacked.push((path.clone(), build.bench.tree(&layers)?));
    }
    Ok(unpacked)
}
