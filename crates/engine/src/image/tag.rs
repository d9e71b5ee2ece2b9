//! Names for images.

use strata_store::records::TagRecord;
use strata_types::reference::Reference;

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
        let image = self.image(image)?;
        let tag = TagRecord {
            name: name.clone().or_latest(),
            image: image.id,
            manifest: None,
            index: None,
            updated: self.now(),
        };
        let event = Happening::new(Kind::Image, "tag", &tag.image).with("name", &tag.name.familiar());
        self.store().tags().set(&[tag])?;
        self.record_event(event);
        Ok(())
    }
}
