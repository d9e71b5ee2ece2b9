//! `--annotation`: what manifests and indexes say of an image that is no part of it.

use strata_engine::workbench::Annotations;
use strata_types::Platform;

use crate::error::Problem;
use crate::request::{BuildRequest, Output};

/// Something for manifests to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// What says it.
    pub place: AnnotationPlace,
    /// Only of the image for this platform.
    pub platform: Option<Platform>,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What says an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationPlace {
    /// The manifest of the image.
    Manifest,
    /// What the index says of the manifest.
    ManifestDescriptor,
    /// The index over the images for several platforms.
    Index,
    /// What names the index in an archive.
    IndexDescriptor,
}

impl AnnotationPlace {
    /// Reads BuildKit's word for it.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "manifest" => Self::Manifest,
            "manifest-descriptor" => Self::ManifestDescriptor,
            "index" => Self::Index,
            "index-descriptor" => Self::IndexDescriptor,
            _ => return None,
        })
    }

    const fn is_index(self) -> bool {
        matches!(self, Self::Index | Self::IndexDescriptor)
    }
}

/// Refuses annotations that there will be no place for. What is written as files has no manifest, so that none is amiss.
pub(crate) fn check(request: &BuildRequest, platforms: &[Platform]) -> Result<(), Problem> {
    if !matches!(request.output, Output::Image) {
        return Ok(());
    }
    let is_missing =
        |annotation: &&Annotation| annotation.platform.as_ref().is_some_and(|platform| !platforms.contains(platform));
    if let Some(Annotation { platform: Some(platform), .. }) = request.annotations.iter().find(is_missing) {
        return Err(Problem::AnnotationPlatform(platform.clone()));
    }
    let is_alone = platforms.len() == 1 && request.attest.is_none();
    match request.annotations.iter().any(|annotation| annotation.place.is_index()) && is_alone {
        true => Err(Problem::AnnotationIndex),
        false => Ok(()),
    }
}

/// What is said of the image for a platform. What is said of it alone goes before what is said of all, and the last of two
/// before the first.
pub(crate) fn of(all: &[Annotation], platform: &Platform) -> Annotations {
    let mut said = Annotations::default();
    let alone = |annotation: &&Annotation| annotation.platform.as_ref() == Some(platform);
    let general = all.iter().filter(|annotation| annotation.platform.is_none() || annotation.place.is_index());
    for annotation in general.chain(all.iter().filter(alone)) {
        let place = match annotation.place {
            AnnotationPlace::Manifest => &mut said.manifest,
            AnnotationPlace::ManifestDescriptor => &mut said.manifest_descriptor,
            AnnotationPlace::Index => &mut said.index,
            AnnotationPlace::IndexDescriptor => &mut said.index_descriptor,
        };
        place.insert(annotation.key.clone(), annotation.value.clone());
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_one_platform_goes_before_what_is_said_of_all() {
        let (amd64, arm64) = (Platform::new("linux", "amd64", ""), Platform::new("linux", "arm64", ""));
        let annotation = |place, platform: Option<&Platform>, value: &str| Annotation {
            place,
            platform: platform.cloned(),
            key: "k".to_owned(),
            value: value.to_owned(),
        };
        let all = [
            annotation(AnnotationPlace::Manifest, Some(&arm64), "arm"),
            annotation(AnnotationPlace::Manifest, None, "first"),
            annotation(AnnotationPlace::Manifest, None, "last"),
            annotation(AnnotationPlace::ManifestDescriptor, Some(&arm64), "descriptor"),
            annotation(AnnotationPlace::Index, Some(&arm64), "index"),
        ];
        let check = |platform: &Platform, manifest: &str, descriptor: Option<&str>| {
            let said = of(&all, platform);
            assert_eq!(said.manifest["k"], manifest);
            assert_eq!(said.manifest_descriptor.get("k").map(String::as_str), descriptor);
            assert_eq!((said.index["k"].as_str(), said.index_descriptor.len()), ("index", 0));
        };
        check(&amd64, "last", None);
        check(&arm64, "arm", Some("descriptor"));
    }
}
