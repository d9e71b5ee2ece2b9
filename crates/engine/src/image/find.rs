//! From what a person types to an image.

use strata_store::records::ImageRecord;
use strata_types::reference::{Reference, ReferenceError, is_identifier};
use strata_types::{Digest, ImageId};

use crate::image::ImageError;
use crate::{Engine, Result};

impl Engine {
    /// Finds the image a person means: by whole id, by reference, by the first digits of its id, in this order, as
    /// Docker does.
    ///
    /// # Errors
    /// When there is none, or the name does not parse.
    pub fn image(&self, name: &str) -> Result<ImageRecord> {
        self.find_image(name)?.ok_or_else(|| ImageError::NotFound(shown(name)).into())
    }

    /// The same; `None` when there is no such image.
    ///
    /// # Errors
    /// When the name does not parse or the records cannot be read.
    pub fn find_image(&self, name: &str) -> Result<Option<ImageRecord>> {
        if let Some(id) = whole_id(name) {
            return Ok(self.store().images().get(&id)?);
        }
        let parsed = name.parse::<Reference>();
        if let Ok(reference) = &parsed
            && let Some(found) = self.store().tags().image(&as_recorded(reference))?
        {
            return Ok(Some(found));
        }
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        if let Some(found) = self.store().images().find(digits)? {
            return Ok(Some(found));
        }
        parsed.map_err(|source| ImageError::Reference { name: name.to_owned(), source })?;
        Ok(None)
    }

    /// An image and all that were made from it here: by commits, and by builds.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn derived_from(&self, id: &ImageId) -> Result<Vec<ImageId>> {
        let mut derived = vec![id.clone()];
        let mut at = 0;
        while let Some(parent) = derived.get(at) {
            for child in self.store().images().children(parent)? {
                if !derived.contains(&child) {
                    derived.push(child);
                }
            }
            at += 1;
        }
        Ok(derived)
    }
}

/// A whole image id, with or without `sha256:`.
pub(crate) fn whole_id(name: &str) -> Option<ImageId> {
    let digest: Digest = match name.contains(':') {
        true => name.parse().ok()?,
        false if is_identifier(name) => format!("sha256:{name}").parse().ok()?,
        false => return None,
    };
    Some(ImageId::new(digest))
}

/// Whether `name` means `id` by its digits rather than by a reference.
pub(crate) fn is_id_of(name: &str, id: &ImageId) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    id.hex().starts_with(digits)
}

/// A reference as tags are recorded: with a digest, the tag does not count; with neither, it is `latest`.
pub(crate) fn as_recorded(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone().or_latest(),
    }
}

/// A name as Docker says that it is not there.
pub(crate) fn shown(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) => reference.or_latest().familiar(),
        Err(ReferenceError::Identifier(_)) => format!("sha256:{name}"),
        Err(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_names() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let id: ImageId = format!("sha256:{hex}").parse().unwrap();
        assert_eq!(whole_id(hex), Some(id.clone()));
        assert_eq!(whole_id(&format!("sha256:{hex}")), Some(id.clone()));
        assert_eq!(whole_id("debian:12"), None);
        assert_eq!(whole_id("e3b0c442"), None);
        assert!(is_id_of("e3b0", &id));
        assert!(!is_id_of("debian", &id));
    }

    #[test]
    fn what_is_missing_is_shown_with_its_tag() {
        assert_eq!(shown("docker.io/library/debian"), "debian:latest");
        assert_eq!(shown("X"), "X");
    }
}
