//! COPY and ADD, as instructions of a stage.

use std::cell::OnceCell;

use strata_dockerfile::{Copying, Ignore};
use strata_sys::root_dir::RootDir;

use super::StageRun;
use super::run::shown;
use super::sources::Sources;
use crate::copy::{Destination, Part, Tree};
use crate::error::Problem;
use crate::graph::{Build, Files};
use crate::key::Key;

impl StageRun<'_> {
    pub(super) fn copy(&mut self, original: &str, copying: &Copying, name: &'static str) -> Result<(), Problem> {
        let build = self.build;
        let copying = &self.with_variables(copying)?;
        let inline = self.inline(copying)?;
        let files = build.files(&copying.from, self.index)?;
        let sources = Sources::new(copying, name, &files, &inline, self.no_cache)?;
        let (layers, working_dir) = (self.state.base.layers.clone(), self.config().working_dir.clone());
        let key_of = |kind: &str| {
            let mut key = Key::of(kind);
            key.layers(&layers);
            key.parts("to", [&working_dir, &copying.target, &copying.chown, &copying.chmod]);
            key.part("how", format!("{name} {} {} {:?}", copying.link, copying.parents, copying.unpack));
            key.parts("exclude", &copying.exclude);
            if !copying.chmod.is_empty() {
                key.part("chmod", "directories on the way, too");
            }
            build.epoch_into(&mut key);
            key
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
            sources.read_into(&mut key, build)?;
            Ok(key)
        };
        let work = |_| {
            let base = build.bench.tree(&layers)?;
            let to = Destination {
                copying,
                name,
                working_dir: &working_dir,
                base: Some(&base),
                now: build.now(),
                newest: build.newest(),
            };
            let archives = sources.archives(build)?;
            let mut tar = Part::lay_out(&sources.parts(build, &archives)?, &to)?;
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
                let stamps = context.stamps(build.bench.engine());
                let tree = |root| Tree { root, ignore: context.ignore(), is_host: true, stamps };
                return Ok(context.root().map(tree));
            }
            Files::Layers(base) => &base.layers,
        };
        if self.root.get().is_none() {
            let root = build.bench.tree(layers)?;
            self.root.get_or_init(|| root);
        }
        Ok(self.root.get().map(|root| Tree { root, ignore: &self.nothing, is_host: false, stamps: None }))
    }
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
