//! What builds remember outside the store: looked at before a step is done, written when all are.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use strata_engine::workbench::{CachePlace, FarCache, FarStep, Memory, write_inline};
use strata_types::config::ImageConfig;
use strata_types::{DiffId, sentence};

use crate::error::Problem;
use crate::graph::Build;
use crate::request::Outcome;

/// `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheExport {
    /// Where to.
    pub target: CacheTarget,
    /// All steps, not just those that the image's layers come from.
    pub all_steps: bool,
    /// A build does not fail because of it.
    pub ignore_error: bool,
}

/// Where what was done is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheTarget {
    /// A registry or a directory.
    Place(CachePlace),
    /// The image itself.
    Inline,
}

/// The caches of one build.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    far: OnceLock<Vec<FarCache>>,
    done: Mutex<Vec<FarStep>>,
    /// The layers, with those below them, that were made just now.
    made: Mutex<Vec<Vec<DiffId>>>,
}

impl Caches {
    /// Notes that a step is done, or was found done.
    pub(crate) fn note(&self, keys: Vec<String>, below: &[DiffId], memory: &Memory) {
        let adds_layer = memory.layers.len() > below.len();
        let step = FarStep { keys, layers: memory.layers.clone(), adds_layer, created: memory.created };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// Notes that a layer was made just now.
    pub(crate) fn note_made(&self, memory: &Memory) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(memory.layers.clone());
    }

    /// The layers of an image, each with those below it, that were made just now.
    pub(crate) fn made(&self, layers: &[DiffId]) -> Vec<Vec<DiffId>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        made.retain(|chain| layers.starts_with(chain));
        made
    }

    /// The steps of images with these layers, or all.
    fn steps(&self, images: &[&[DiffId]], all: bool) -> Vec<FarStep> {
        let mut steps = self.done.lock().unwrap_or_else(PoisonError::into_inner).clone();
        steps.retain(|step| all || images.iter().any(|layers| layers.starts_with(&step.layers)));
        steps
    }

    /// Writes the steps into the config of what they came to, if that is wanted.
    pub(crate) fn write_inline(&self, wishes: &[CacheExport], config: &mut ImageConfig) {
        if wishes.iter().any(|wish| wish.target == CacheTarget::Inline) {
            let steps = self.steps(&[config.diff_ids()], false);
            write_inline(config, &steps);
        }
    }
}

impl Build<'_> {
    /// Looks what `--cache-from` names. What is not there, or cannot be read, is no reason to fail.
    pub(crate) fn open_caches(&self) {
        let mut opened = Vec::new();
        for place in &self.request.cache_from {
            let (number, began) = (self.number(), Instant::now());
            self.observer.begin(number, &format!("importing cache manifest from {place}"));
            let outcome = match self.bench.open_cache(place) {
                Ok(Some(cache)) => {
                    self.observer.status(number, &format!("{} steps", cache.steps()));
                    opened.push(cache);
                    Outcome::Done
                }
                Ok(None) => {
                    self.observer.status(number, "there is no cache yet");
                    Outcome::Done
                }
                Err(error) => {
                    self.observer.status(number, &format!("not used: {}", sentence(&error)));
                    Outcome::Done
                }
            };
            self.observer.end(number, outcome, began.elapsed());
        }
        self.shared.caches.far.get_or_init(|| opened);
    }

    /// The step with this key, if somebody did it.
    pub(crate) fn recall(
        &self,
        number: usize,
        key: &str,
        below: &[DiffId],
        what: &str,
    ) -> Result<Option<Memory>, Problem> {
        if let Some(memory) = self.bench.recall(key)? {
            return Ok(Some(memory));
        }
        for cache in self.shared.caches.far.get().into_iter().flatten() {
            match self.bench.fetch_step(cache, key, below, self) {
                Ok(Some(memory)) => {
                    self.bench.remember(key, what, &memory)?;
                    return Ok(Some(memory));
                }
                Ok(None) => {}
                Err(strata_engine::Error::Cancelled) => return Err(strata_engine::Error::Cancelled.into()),
                Err(error) => self.observer.status(number, &format!("cache not used: {}", sentence(&error))),
            }
        }
        Ok(None)
    }

    /// Writes what was done to where `--cache-to` says.
    pub(crate) fn export_caches(&self, images: &[&[DiffId]]) -> Result<(), Problem> {
        for wish in &self.request.cache_to {
            let CacheTarget::Place(place) = &wish.target else { continue };
            let (number, began) = (self.number(), Instant::now());
            self.observer.begin(
                number,
                &match place {
                    CachePlace::Registry(reference) => format!("exporting cache to registry {}", reference.familiar()),
                    CachePlace::Dir { .. } => "exporting cache to client directory".to_owned(),
                },
            );
            let steps = self.shared.caches.steps(images, wish.all_steps);
            let written = self.bench.export_cache(place, &steps, self);
            let outcome = match &written {
                Err(error) if wish.ignore_error => {
                    self.observer.status(number, &format!("ignored: {}", sentence(error)));
                    Outcome::Done
                }
                Ok(()) => Outcome::Done,
                Err(_) => Outcome::Failed,
            };
            self.observer.end(number, outcome, began.elapsed());
            if !wish.ignore_error {
                written?;
            }
        }
        Ok(())
    }
}
