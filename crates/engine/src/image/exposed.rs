//! Credentials that an image would show to everybody who has it.

use std::io::Read as _;

use strata_layer::tar::{Limits, Parser};
use strata_layer::{Entry, LayerPath, LayerSink};
use strata_types::config::ImageConfig;
use strata_types::credential::{is_plain_value, is_secret_name, kind_of_file, kind_of_value};
use strata_types::{DiffId, ImageId, Watch};

use crate::{Engine, Error, Result};

/// How much of a file is looked at: keys begin at the beginning, after comments or certificates at most.
const HEAD_BYTES: usize = 8 << 10;
/// How much of a layer is read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Larger files are no keys, and are not looked at.
const FILE_BYTES_MAX: u64 = 128 << 10;

/// The files of larger layers are not looked at when a container is committed: they went to the disk past the memory that
/// caches it, and reading them again takes longer than the commit.
const COMMITTED_BYTES_MAX: u64 = 32 << 20;

/// Something that looks like a credential, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposed {
    /// The value of a variable.
    Variable {
        /// Its name.
        name: String,
        /// What the value looks like, if it is not the name alone.
        kind: Option<&'static str>,
    },
    /// The value of an argument of the build: it is in the history.
    Argument {
        /// Its name.
        name: String,
        /// What the value looks like, if it is not the name alone.
        kind: Option<&'static str>,
    },
    /// A word of a step: it is in the history.
    Step {
        /// The step's first words.
        instruction: String,
        /// What it looks like.
        kind: &'static str,
    },
    /// A file.
    File {
        /// Its path.
        path: String,
        /// What it looks like.
        kind: &'static str,
    },
}

impl std::fmt::Display for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = |kind: &Option<&str>| kind.map_or_else(String::new, |kind| format!(" ({kind})"));
        match self {
            Self::Variable { name, kind: looks } => write!(f, "variable {name}{}", kind(looks)),
            Self::Argument { name, kind: looks } => write!(f, "argument {name}{}, in its history", kind(looks)),
            Self::Step { instruction, kind } => write!(f, "step {instruction} ({kind}), in its history"),
            Self::File { path, kind } => write!(f, "file {path} ({kind})"),
        }
    }
}

impl Engine {
    /// What an image's config shows, and files of those of its layers that were made here and no registry has.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn exposed_by(&self, id: &ImageId, watch: &dyn Watch) -> Result<Vec<Exposed>> {
        let config = self.config(id)?;
        let mut chains = Vec::new();
        for length in 1..=config.diff_ids().len() {
            let layers = &config.diff_ids()[..length];
            if self.store().layers().forms(&layers[length - 1])?.is_empty() {
                chains.push(layers.to_vec());
            }
        }
        self.exposed_in(&config, &chains, watch)
    }

    /// What the config of an image shows that was just committed, and files of the layer it added. Those of a large one are
    /// left to the push.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn exposed_by_commit(&self, id: &ImageId, watch: &dyn Watch) -> Result<Vec<Exposed>> {
        let config = self.config(id)?;
        let layers = config.diff_ids().to_vec();
        let size = layers.last().map(|layer| self.store().layers().get(layer)).transpose()?.flatten();
        let is_small = size.is_some_and(|layer| layer.size_bytes <= COMMITTED_BYTES_MAX);
        self.exposed_in(&config, if is_small { std::slice::from_ref(&layers) } else { &[] }, watch)
    }

    /// What a config shows, and files of layers: of each, it and those below it.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub fn exposed_in(&self, config: &ImageConfig, chains: &[Vec<DiffId>], watch: &dyn Watch) -> Result<Vec<Exposed>> {
        let reading = |source| Error::Read { what: "a layer".to_owned(), source };
        let (mut found, mut chunk) = (in_config(config), vec![0; CHUNK_BYTES]);
        for layers in chains.iter().filter(|layers| !layers.is_empty()) {
            let mut files = Files::default();
            let mut tar = self.layer_tar(layers)?;
            let mut parser = Parser::new(&Limits::GENEROUS);
            // Nothing is digested: what it is was known when it was made.
            loop {
                let count = tar.reader.read(&mut chunk).map_err(reading)?;
                if count == 0 || watch.cancelled() {
                    break;
                }
                parser.feed(&chunk[..count], &mut files)?;
            }
            found.extend(files.found);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

fn in_config(config: &ImageConfig) -> Vec<Exposed> {
    let mut found = Vec::new();
    let suspicious = |name: &str, value: &str| {
        let kind = kind_of_value(value);
        (kind.is_some() || (is_secret_name(name) && !is_plain_value(value))).then_some(kind)
    };
    for (name, value) in config.config.env.iter().filter_map(|line| line.split_once('=')) {
        if let Some(kind) = suspicious(name, value) {
            found.push(Exposed::Variable { name: name.to_owned(), kind });
        }
    }
    for step in &config.history {
        let text = step.created_by.as_str();
        if let Some(arguments) = text.strip_prefix("ARG ") {
            for (name, value) in arguments.split(' ').filter_map(|word| word.split_once('=')) {
                if let Some(kind) = suspicious(name, value) {
                    found.push(Exposed::Argument { name: name.to_owned(), kind });
                }
            }
        } else if !text.starts_with("ENV ")
            && let Some(kind) = kind_of_value(without_arguments(text))
        {
            let instruction = text.split_whitespace().find(|word| !word.starts_with('|')).unwrap_or_default();
            found.push(Exposed::Step { instruction: instruction.to_owned(), kind });
        }
    }
    found
}

/// `RUN |2 A=1 B=2 /bin/sh -c …` without the arguments, which are told of by themselves.
fn without_arguments(text: &str) -> &str {
    text.split_once("/bin/sh -c ").map_or(text, |(_, command)| command)
}

/// Looks at the beginnings of small files.
#[derive(Debug, Default)]
struct Files {
    path: Option<LayerPath>,
    head: Vec<u8>,
    found: Vec<Exposed>,
}

impl LayerSink for Files {
    fn entry(&mut self, entry: &Entry, _data_offset: u64) -> strata_layer::Result<()> {
        self.head.clear();
        self.path = (entry.is_file() && entry.content_bytes() <= FILE_BYTES_MAX).then(|| entry.path.clone());
        Ok(())
    }

    fn data(&mut self, _offset: u64, chunk: &[u8]) -> strata_layer::Result<()> {
        if self.path.is_some() && self.head.len() < HEAD_BYTES {
            self.head.extend_from_slice(&chunk[..chunk.len().min(HEAD_BYTES - self.head.len())]);
        }
        Ok(())
    }

    fn end(&mut self) -> strata_layer::Result<()> {
        if let Some(path) = self.path.take()
            && let Some(kind) = kind_of_file(&self.head)
        {
            self.found.push(Exposed::File { path: path.to_string(), kind });
        }
        Ok(())
    }
}
