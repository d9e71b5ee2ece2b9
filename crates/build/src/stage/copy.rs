//! COPY and ADD, as instructions of a stage.

use std::cell::OnceCell;

use strata_dockerfile::{Copying, Ignore};
use strata_layer::LayerPath;
use strata_sys::root_dir::RootDir;

use super::StageRun;
use super::run::shown;
use crate::archive;
use crate::copy::{Destination, Found, Tree};
use crate::error::{Problem, read};
use crate::graph::{Build, Files};
use crate::key::Key;

impl StageRun<'_> {
    pub(super) fn copy(&mut self, original: &str, copying: &Copying, name: &'static str) -> Result<(), Problem> {
        let build = self.build;
        let copying = &self.with_variables(copying)?;
        local(copying, name)?;
        let inline = self.inline(copying)?;
        let files = build.files(&copying.from, self.index)?;
        let (layers, working_dir) = (self.state.base.layers.clone(), self.config().working_dir.clone());
        let key_of = |kind: &str| {
            let mut key = Key::of(kind);
            key.layers(&layers);
            key.parts("to", [&working_dir, &copying.target, &copying.chown, &copying.chmod]);
            key.part("how", format!("{name} {} {} {:?}", copying.link, copying.parents, copying.unpack));
            key.parts("exclude", &copying.exclude);
            build.epoch_into(&mut key);
            key
        };
        let (opened, found, nothing) = (Opened::default(), OnceCell::new(), Ignore::default());
        let tree = || opened.tree(&files, build);
        let find = |tree: Option<Tree<'_>>| -> Result<&Found, Problem> {
            if found.get().is_none() {
                let all = Found::new(copying, tree, inline.clone())?;
                found.get_or_init(|| all);
            }
            Ok(found.get().expect("it was just found"))
        };
        let by_layers = || {
            let mut key = key_of("copy of layers");
            if let Files::Layers(base) = &files {
                key.layers(&base.layers);
            }
            key.parts("source", &copying.sources);
            key.parts("inline", inline.iter().flat_map(|(name, text)| [name.as_bytes(), text]));
            Ok(key)
        };
        let by_content = || {
            let mut key = key_of("copy of files");
            let tree = tree()?;
            find(tree)?.read_into(&mut key, tree)?;
            Ok(key)
        };
        let work = |_| {
            let tree = tree()?;
            let base = build.bench.tree(&layers)?;
            let to = Destination {
                copying,
                name,
                working_dir: &working_dir,
                base: Some(&base),
                now: build.now(),
                newest: build.newest(),
            };
            let found = find(tree)?;
            let unpacks = name == "ADD" && copying.unpack != Some(false);
            let archives = if unpacks { unpack(build, found, tree)? } else { Vec::new() };
            let inside = |(path, root)| (path, Tree { root, ignore: &nothing, is_host: false });
            let unpacked: Vec<_> = archives.iter().map(|(path, root)| inside((LayerPath::clone(path), root))).collect();
            let mut tar = found.lay_out(tree, &unpacked, &to)?;
            Ok(build.bench.add_layer(&layers, &mut tar, build)?)
        };
        let layer = match files {
            Files::Layers(_) => self.change(&shown(original), &[&by_layers, &by_content], &work)?,
            Files::Context(_) => self.change(&shown(original), &[&by_content], &work)?,
        };
        self.tell(history(copying, name), layer);
        Ok(())
    }

    /// The instruction with its variables replaced.
    fn with_variables(&self, copying: &Copying) -> Result<Copying, Problem> {
        let all = |texts: &[String]| texts.iter().map(|text| self.expand(text)).collect::<Result<Vec<_>, _>>();
        Ok(Copying {
            sources: all(&copying.sources)?,
            target: self.expand(&copying.target)?,
            from: self.expand(&copying.from)?,
            chown: self.expand(&copying.chown)?,
            chmod: self.expand(&copying.chmod)?,
            exclude: all(&copying.exclude)?,
            checksum: self.expand(&copying.checksum)?,
            ..copying.clone()
        })
    }

    /// The files that stand in the Dockerfile.
    fn inline(&self, copying: &Copying) -> Result<Vec<(String, Vec<u8>)>, Problem> {
        let file = |inline: &strata_dockerfile::Inline| {
            let text = if inline.expand { self.expand_text(&inline.content)? } else { inline.content.clone() };
            Ok((inline.name.clone(), text.into_bytes()))
        };
        copying.inline.iter().map(file).collect()
    }
}

/// The tree that files come from, opened when it is first looked at.
#[derive(Debug, Default)]
pub(super) struct Opened {
    root: OnceCell<RootDir>,
    nothing: Ignore,
}

impl Opened {
    pub(super) fn tree<'t>(&'t self, files: &'t Files<'_>, build: &Build<'_>) -> Result<Option<Tree<'t>>, Problem> {
        let layers = match files {
            Files::Context(context) => {
                let tree = |root| Tree { root, ignore: context.ignore(), is_host: true };
                return Ok(context.root().map(tree));
            }
            Files::Layers(base) => &base.layers,
        };
        if self.root.get().is_none() {
            let root = build.bench.tree(layers)?;
            self.root.get_or_init(|| root);
        }
        Ok(self.root.get().map(|root| Tree { root, ignore: &self.nothing, is_host: false }))
    }
}

/// Refuses what comes from elsewhere, and the checksum that only such a source can have: nobody shall believe that it was
/// compared.
fn local(copying: &Copying, name: &str) -> Result<(), Problem> {
    const REMOTE: [&str; 5] = ["http://", "https://", "git://", "ssh://", "git@"];
    let is_remote = |source: &&String| REMOTE.iter().any(|start| source.starts_with(start));
    if let Some(source) = copying.sources.iter().find(is_remote).filter(|_| name == "ADD") {
        let sentence = format!("ADD {source}: files from URLs and git repositories are not supported yet");
        return Err(Problem::Unsupported(sentence));
    }
    if !copying.checksum.is_empty() {
        return Err(Problem::Unsupported("checksum can't be specified for non-HTTP(S) sources".to_owned()));
    }
    Ok(())
}

/// The archives among the sources, each as a tree.
fn unpack(build: &Build<'_>, found: &Found, tree: Option<Tree<'_>>) -> Result<Vec<(LayerPath, RootDir)>, Problem> {
    let mut unpacked = Vec::new();
    let Some(tree) = tree else { return Ok(unpacked) };
    for path in found.files() {
        let shown = path.to_string();
        let Some(mut tar) = archive::open(tree.open(path).map_err(read(&shown))?, &shown)? else { continue };
        let layer = build.bench.add_layer(&[], &mut *tar, build)?;
        let layers: Vec<_> = layer.into_iter().map(|layer| layer.diff_id).collect();
        unpacked.push((path.clone(), build.bench.tree(&layers)?));
    }
    Ok(unpacked)
}

/// What the history says.
fn history(copying: &Copying, name: &str) -> String {
    let mut text = name.to_owned();
    for (flag, is_given) in [("parents", copying.parents), ("link", copying.link)] {
        if is_given {
            text.push_str(&format!(" --{flag}"));
        }
    }
    for (flag, value) in [("chown", &copying.chown), ("chmod", &copying.chmod)] {
        if !value.is_empty() {
            text.push_str(&format!(" --{flag}={value}"));
        }
    }
    let inline = copying.inline.iter().map(|inline| &inline.name);
    for word in copying.sources.iter().chain(inline).chain([&copying.target]) {
        text.push_str(&format!(" {word}"));
    }
    format!("{text} # buildkit")
}
