//! Looking whether the store is whole, and mending it.

use strata_store::{Collected, Problem};
use strata_types::Watch;

use crate::{Engine, Result};

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
    /// is damaged or left over: nothing else, and no image that is whole.
    ///
    /// # Errors
    /// When the disk cannot be read; damage is no error but a finding.
    pub fn check(&self, repair: bool, watch: &dyn Watch) -> Result<Checked> {
        let snapshots = self.snapshots()?;
        let problems = self.store().check(snapshots, watch)?;
        if problems.iter().any(|problem| matches!(problem, Problem::Database { .. })) {
            let finding = |problem| Finding { problem, images: Vec::new(), is_mended: false };
            return Ok(Checked { findings: problems.into_iter().map(finding).collect(), ..Checked::default() });
        }
        let mut checked = Checked {
            findings: Vec::new(),
            images: self.store().images().list()?.len(),
            blobs: self.store().blobs().list()?.len(),
            layers: self.store().layers().list()?.len(),
            collected: Collected::default(),
        };
        if repair {
            let repaired = self.store().repair(problems, snapshots, watch)?;
            for (problems, is_mended) in [(repaired.mended, true), (repaired.left, false)] {
                for problem in problems {
                    checked.findings.push(self.finding(problem, is_mended)?);
                }
            }
            checked.collected = repaired.collected;
        } else {
            for problem in problems {
                checked.findings.push(self.finding(problem, false)?);
            }
        }
        Ok(checked)
    }

    fn finding(&self, problem: Problem, is_mended: bool) -> Result<Finding> {
        let mut images = Vec::new();
        for id in problem.images() {
            let tags = self.store().tags().of(id)?;
            let names = tags.iter().map(|tag| &tag.name).filter(|name| name.tag().is_some());
            let before = images.len();
            images.extend(names.map(strata_types::reference::Reference::familiar));
            if images.len() == before {
                images.push(id.short().to_owned());
            }
        }
        Ok(Finding { problem, images, is_mended })
    }
}
