//! Looking whether the store is whole, and mending it.

use strata_store::records::{self, ImageRecord, InUse};
use strata_store::{Collected, Depth, Problem};
use strata_types::reference::Reference;
use strata_types::{ErrorClass, ImageId, Watch, sentence};

use crate::image::PullWish;
use crate::{Engine, Result, Settings};

/// What a check found, and what a repair did about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is not as it should be; nothing if the store is whole.
    pub findings: Vec<Finding>,
    /// How many images, blobs and layers were looked at.
    pub images: usize,
    /// The blobs, all of them.
    pub blobs: usize,
    /// The layers, all of them.
    pub layers: usize,
    /// What the repair removed because nobody needs it.
    pub collected: Collected,
    /// What became of the images that lacked something after the repair.
    pub fetched: Vec<Fetched>,
}

/// An image that lacked something, and was fetched again as far as that was missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its name, or its id if it has none.
    pub name: String,
    /// Why it still lacks that.
    pub failure: Option<String>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub problem: Problem,
    /// The names of the images it hurts, or their ids if they have none.
    pub images: Vec<String>,
    /// Whether the repair mended it, or took it away so that pulling those images again mends it.
    pub is_mended: bool,
}

impl Engine {
    /// Reads everything in the store again and compares it with its digest and the records. With `repair`, removes what
    /// is damaged or left over: nothing else, and no image that is whole; then fetches that from where it came.
    ///
    /// # Errors
    /// When the disk cannot be read; damage is no error but a finding.
    pub fn check(&self, repair: bool, watch: &dyn Watch) -> Result<Checked> {
        self.check_to(Depth::Bytes, repair, watch)
    }

    /// The same, as closely as `depth` says.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_to(&self, depth: Depth, repair: bool, watch: &dyn Watch) -> Result<Checked> {
        let lost = self.lost_driver(repair)?;
        if lost.iter().any(|finding| !finding.is_mended) {
            return Ok(Checked { findings: lost, ..Checked::default() });
        }
        let snapshots = self.snapshots()?;
        let problems = self.store().check(snapshots, depth, watch)?;
        if problems.iter().any(|problem| matches!(problem, Problem::Database { .. })) {
            let finding = |problem| Finding { problem, images: Vec::new(), is_mended: false };
            return Ok(Checked { findings: problems.into_iter().map(finding).collect(), ..Checked::default() });
        }
        let mut checked = Checked {
            findings: lost,
            images: self.store().images().list()?.len(),
            blobs: self.store().blobs().list()?.len(),
            layers: self.store().layers().list()?.len(),
            collected: Collected::default(),
            fetched: Vec::new(),
        };
        if repair {
            let repaired = self.store().repair(problems, snapshots, watch)?;
            for (problems, is_mended) in [(repaired.mended, true), (repaired.left, false)] {
                for problem in problems {
                    checked.findings.push(self.finding(problem, is_mended)?);
                }
            }
            checked.collected = repaired.collected;
            self.store().heal(snapshots)?;
            checked.fetched = self.fetch_damaged(watch)?;
            for finding in &mut checked.findings {
                if let Problem::ImageIncomplete { images } = &finding.problem {
                    finding.is_mended = !self.damaged()?.iter().any(|image| images.contains(&image.id));
                }
            }
        } else {
            for problem in problems {
                checked.findings.push(self.finding(problem, false)?);
            }
        }
        Ok(checked)
    }

    /// Whether there are layers and nothing says which driver has them; with `repair` it is written down if there is but one.
    fn lost_driver(&self, repair: bool) -> Result<Vec<Finding>> {
        let Settings { root, driver, .. } = self.settings();
        let owners = strata_snapshot::lost_driver(root)?;
        if owners.is_empty() || driver.is_some() {
            // Whoever names the driver says it.
            return Ok(Vec::new());
        }
        let is_mended = repair && owners.len() == 1;
        if is_mended {
            strata_snapshot::record_driver(root, owners[0])?;
        }
        let problem = Problem::DriverLost { owners: owners.iter().map(ToString::to_string).collect() };
        Ok(vec![Finding { problem, images: Vec::new(), is_mended }])
    }

    fn finding(&self, problem: Problem, is_mended: bool) -> Result<Finding> {
        let mut images = Vec::new();
        for id in problem.images() {
            images.extend(self.names_of(id)?);
        }
        Ok(Finding { problem, images, is_mended })
    }

    /// The tags of an image, or its id.
    fn names_of(&self, id: &ImageId) -> Result<Vec<String>> {
        let tags = self.store().tags().of(id)?;
        let tagged = tags.iter().map(|tag| &tag.name).filter(|name| name.tag().is_some());
        let names: Vec<String> = tagged.map(Reference::familiar).collect();
        Ok(if names.is_empty() { vec![id.short().to_owned()] } else { names })
    }

    /// The images that lack something.
    fn damaged(&self) -> Result<Vec<ImageRecord>> {
        Ok(self.store().images().list()?.into_iter().filter(|image| image.damaged).collect())
    }

    /// Fetches what images lack. What came from nowhere may lack no more than others do.
    fn fetch_damaged(&self, watch: &dyn Watch) -> Result<Vec<Fetched>> {
        let damaged = self.damaged()?;
        let mut fetched = damaged.iter().map(|image| self.fetch_again(image, watch)).collect::<Result<Vec<_>>>()?;
        self.store().heal(self.snapshots()?)?;
        let left = self.damaged()?;
        for (image, fetched) in damaged.iter().zip(&mut fetched) {
            if !left.iter().any(|one| one.id == image.id) {
                fetched.failure = None;
            }
        }
        Ok(fetched)
    }

    /// Fetches what an image lacks from where it came.
    fn fetch_again(&self, image: &ImageRecord, watch: &dyn Watch) -> Result<Fetched> {
        let name = self.names_of(&image.id)?.swap_remove(0);
        let tags = self.store().tags().of(&image.id)?;
        // The very manifest: a tag may mean something else by now.
        let from = tags.iter().find_map(|tag| Some(tag.name.with_digest(tag.manifest.clone()?)));
        let Some(from) = from else {
            let failure = Some("it came from no registry: load, import or build it again".to_owned());
            return Ok(Fetched { name, failure });
        };
        let was_named = self.store().tags().get(&from)?.is_some();
        // Whoever asked for another platform than this host's wants that again.
        let platform = self.config(&image.id).ok().map(|config| config.platform());
        let pulled = self.pull(&from, &PullWish { platform, ..PullWish::default() }, watch);
        if !was_named {
            // The person never asked for it by this digest.
            let removal = records::Removal { tags: vec![from], images: Vec::new(), in_use: InUse::Keep };
            self.store().images().remove(&removal)?;
        }
        match pulled {
            Ok(_) => Ok(Fetched { name, failure: None }),
            Err(error) if error.class() == ErrorClass::Cancelled => Err(error),
            Err(error) => Ok(Fetched { name, failure: Some(sentence(&error)) }),
        }
    }
}
