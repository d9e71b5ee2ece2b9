//! Taking away what is damaged, so that the next pull brings it back.

use strata_sys::durable::{self, FileError};
use strata_types::Watch;

use crate::check::LayerFiles;
use crate::{Collected, Durability, Error, Problem, Result, Scope, Store};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was mended, or taken away so that pulling the image again mends it.
    pub mended: Vec<Problem>,
    /// What cannot be mended here.
    pub left: Vec<Problem>,
    /// What nobody needed.
    pub collected: Collected,
}

impl Store {
    /// Removes what `problems` says is damaged or left over, marks the images it hurts, and collects garbage.
    pub fn repair(&self, problems: Vec<Problem>, files: &dyn LayerFiles, watch: &dyn Watch) -> Result<Repaired> {
        let mut repaired = Repaired::default();
        for problem in problems {
            for image in problem.images() {
                self.images().mark(image, true)?;
            }
            let mended = self.mend(&problem, files)?;
            if mended { &mut repaired.mended } else { &mut repaired.left }.push(problem);
        }
        // With a damaged database nobody knows what is needed.
        if !repaired.left.iter().any(|problem| matches!(problem, Problem::Database { .. })) {
            // Partial downloads are no damage: the next pull goes on with them.
            let keep = std::time::Duration::MAX;
            repaired.collected = self.gc(Scope::All { ingests_older_than: keep }, files, watch)?;
        }
        Ok(repaired)
    }

    /// Takes the mark of damage from images that lack nothing any more because it came with other images.
    pub fn heal(&self, files: &dyn LayerFiles) -> Result<()> {
        let lacking = self.lacking(files)?;
        let marked = self.images().list()?.into_iter().filter(|image| image.damaged);
        for image in marked.filter(|image| !lacking.contains(&image.id)) {
            self.images().mark(&image.id, false)?;
        }
        Ok(())
    }

    fn mend(&self, problem: &Problem, files: &dyn LayerFiles) -> Result<bool> {
        match problem {
            Problem::Database { .. }
            | Problem::DriverLost { .. }
            | Problem::ImageIncomplete { .. }
            | Problem::SnapshotIncomplete { .. } => return Ok(false),
            Problem::BlobMissing { .. } | Problem::LayerMissing { .. } => {}
            Problem::BlobDamaged { digest, .. } => {
                self.blobs().remove(digest)?;
            }
            Problem::LayerDamaged { key, .. } => {
                files.remove(key).map_err(|source| Error::Layers { act: "remove", source })?;
            }
            Problem::ContainerUnrecorded { name } => {
                let path = self.dir("containers").join(name);
                self.disk.remove_tree(&path).map_err(FileError::at("remove", &path))?;
                durable::sync_dir(&self.dir("containers"))?;
            }
            Problem::ContainerWithoutFiles { id } => {
                self.containers().remove(id, Durability::Durable).map(drop)?;
            }
        }
        Ok(true)
    }
}
