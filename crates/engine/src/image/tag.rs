//! Names for images.

use strata_store::records::{TagRecord, VariantRecord};
use strata_types::reference::Reference;

use super::find::as_recorded;
use crate::events::{Happening, Kind};
use crate::image::ImageError;
use crate::{Engine, Result};

impl Engine {
    /// Gives an image one more name. A name that meant another image moves.
    ///
    /// # Errors
    /// When there is no such image, or the name has a digest.
    pub fn tag(&self, image: &str, name: &Reference) -> Result<()> {
        if name.digest().is_some() {
            return Err(ImageError::DigestTag.into());
        }
        let before = image.parse::<Reference>().ok().map(|name| as_recorded(&name));
        let image = self.image(image)?;
        let (name, updated) = (name.clone().or_latest(), self.now());
        let named = before.map(|before| self.store().tags().get(&before)).transpose()?.flatten();
        let (mut variants, mut index) = (Vec::new(), None);
        match named {
            // The new name stands for all that the old one does.
            Some(before) => {
                variants = self.store().variants().of(&before.name)?;
                index = before.index.filter(|_| !variants.is_empty());
            }
            None => {
                let said = self.store().images().said(&image.id)?;
                if !said.is_empty() {
                    variants = VariantRecord::all(&name, &[(image.id.clone(), said)]);
                }
            }
        }
        let tag = TagRecord { name, image: image.id, manifest: None, index, updated };
        let event = Happening::new(Kind::Image, "tag", &tag.image).with("name", &tag.name.familiar());
        variants.iter_mut().for_each(|variant| variant.tag.clone_from(&tag.name));
        self.store().tags().set_with(&[tag], &variants)?;
        self.record_event(event);
        Ok(())
    }
}
