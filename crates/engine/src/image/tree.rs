//! What names stand for, platform by platform.

use std::collections::HashMap;

use strata_store::records::{ImageRecord, Said, VariantRecord};
use strata_types::reference::Reference;
use strata_types::{ImageId, Platform};

use super::attestation::Attested;
use super::list::Wanted;
use crate::{Engine, Result};

/// Names with all that they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTree {
    /// The names, in order; none if it has none.
    pub names: Vec<Reference>,
    /// The image that they mean here.
    pub id: ImageId,
    /// The images, each for a platform.
    pub images: Vec<PlatformImage>,
}

/// An image for a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformImage {
    /// Its id.
    pub id: ImageId,
    /// What it runs on; none if its config is damaged.
    pub platform: Option<Platform>,
    /// The sum of its layers.
    pub size_bytes: u64,
    /// What its layers have in a registry, as far as that is known.
    pub content_bytes: u64,
    /// Whether there are containers of it.
    pub is_used: bool,
    /// What is attested of it.
    pub attested: Vec<Attested>,
}

impl Engine {
    /// Lists images with all that their names stand for. Names that stand for the same are together; those without a name
    /// come last.
    ///
    /// # Errors
    /// When an image that a filter names is not here.
    pub fn image_trees(&self, wanted: &Wanted) -> Result<Vec<ImageTree>> {
        let records: HashMap<ImageId, ImageRecord> =
            self.store().images().list()?.into_iter().map(|image| (image.id.clone(), image)).collect();
        let mut trees = Vec::new();
        for summary in self.images(wanted)? {
            let mut groups: Vec<Group> = Vec::new();
            for name in summary.references.tags {
                let parts = parts_of(self.store().variants().of(&name)?, &summary.id);
                match groups.iter_mut().find(|known| known.parts == parts) {
                    Some(known) => known.names.push(name),
                    None => groups.push(Group { parts, names: vec![name] }),
                }
            }
            if groups.is_empty() {
                let alone = (summary.id.clone(), self.store().images().said(&summary.id)?);
                groups.push(Group { parts: vec![alone], names: Vec::new() });
            }
            for Group { parts, names } in groups {
                let here = parts.iter().filter_map(|(id, said)| Some((records.get(id)?, said)));
                let images = here.map(|(image, said)| self.platform_image(image, said)).collect::<Result<Vec<_>>>()?;
                trees.push(ImageTree { names, id: summary.id.clone(), images });
            }
        }
        let key = |tree: &ImageTree| (tree.names.is_empty(), tree.names.first().map(Reference::familiar));
        trees.sort_by_key(key);
        Ok(trees)
    }

    fn platform_image(&self, image: &ImageRecord, said: &Said) -> Result<PlatformImage> {
        let mut content_bytes = 0;
        for layer in &image.layers {
            let forms = self.store().layers().forms(layer)?;
            content_bytes += forms.iter().map(|form| form.size_bytes).min().unwrap_or(0);
        }
        Ok(PlatformImage {
            id: image.id.clone(),
            // An image that lost its config is still an image that can be removed: it is listed.
            platform: self.config(&image.id).ok().map(|config| config.platform()),
            size_bytes: image.size_bytes,
            content_bytes,
            is_used: !self.users_of(&image.id)?.is_empty(),
            attested: self.attested(said)?,
        })
    }
}

/// Names that stand for the same.
struct Group {
    parts: Vec<(ImageId, Said)>,
    names: Vec<Reference>,
}

/// The images of variants, with what is said of each; the image alone if there are none.
fn parts_of(variants: Vec<VariantRecord>, image: &ImageId) -> Vec<(ImageId, Said)> {
    match variants.is_empty() {
        true => vec![(image.clone(), Said::default())],
        false => variants.into_iter().map(|variant| (variant.image, variant.said)).collect(),
    }
}
