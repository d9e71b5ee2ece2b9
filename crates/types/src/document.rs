//! Manifests and indexes as registries serve them. Their bytes have a digest, so they are parsed to be understood and
//! never printed again; [`Manifest::to_bytes`] is for manifests we make ourselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Platform, media};

/// The largest manifest or index we read: what registries accept at most (distribution-spec, "Pushing Manifests").
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// The most layers of one image: ten times what any engine can stack, to bound what a hostile manifest can ask for.
pub const LAYERS_MAX: usize = 1280;

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Says what some bytes are and how to know them again (OCI image-spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What kind of bytes.
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// Where else they may be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub urls: Vec<String>,
    /// Whatever somebody noted down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// Which platform the image is for; in indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact a manifest describes, when it is no image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Describes bytes by kind, digest and size alone.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// Describes bytes that are at hand.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// The digest of the manifest that it attests something of, if it does.
    pub fn attested(&self) -> Option<&str> {
        self.annotations.get(REFERENCE_DIGEST).map(String::as_str).filter(|_| self.is_attestation())
    }

    /// Whether it points to a build's attestation rather than to an image.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE) || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }
}

/// The manifest of one image: its config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// Docker's or OCI's.
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// What kind of artifact, when it is no image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Whatever somebody noted down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Several manifests, usually of one image for several platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Always 2.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
    /// Docker's or OCI's.
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// What kind of artifact, when it is no image.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, or further indexes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// Whatever somebody noted down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// What a registry serves under a tag or a manifest's digest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are few at a time, and a box is in every reader's way")]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// Why bytes are not a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// There are too many bytes.
    #[error("the manifest has more than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge,
    /// It is not JSON, or fields are missing or of another type.
    #[error("the manifest cannot be understood")]
    Json(#[source] serde_json::Error),
    /// It is Docker's schema 1.
    #[error(
        "the image has a manifest of schema 1, which is obsolete and not supported: push it again with a current program"
    )]
    Schema1,
    /// It is of a kind we do not know.
    #[error("unsupported manifest media type `{0}`")]
    MediaType(String),
    /// It is neither a manifest nor an index, or it claims to be both (CVE-2021-41190).
    #[error("the manifest is neither that of an image nor an index")]
    Ambiguous,
    /// There are more layers than [`LAYERS_MAX`].
    #[error("the manifest has {0} layers, more than {LAYERS_MAX}")]
    TooManyLayers(usize),
}

impl Document {
    /// Parses what a registry or an archive holds. `content_type` is what the other side said; the document's own
    /// `mediaType` and its content say more, and a contradiction is refused.
    ///
    /// # Errors
    /// When it is too large, malformed, of schema 1, or of an unknown or ambiguous kind.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(DocumentError::TooLarge);
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        match shape.kind(content_type)? {
            Kind::Manifest => {
                let mut manifest: Manifest = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
                if manifest.layers.len() > LAYERS_MAX {
                    return Err(DocumentError::TooManyLayers(manifest.layers.len()));
                }
                if manifest.media_type.is_empty() {
                    manifest.media_type = media::OCI_MANIFEST.to_owned();
                }
                Ok(Self::Manifest(manifest))
            }
            Kind::Index => {
                let mut index: Index = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
                if index.media_type.is_empty() {
                    index.media_type = media::OCI_INDEX.to_owned();
                }
                Ok(Self::Index(index))
            }
        }
    }

    /// Docker's or OCI's media type.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }
}

impl Manifest {
    /// Describes a new image; `media_type` decides whether it is Docker's or OCI's.
    pub fn new(media_type: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Prints a manifest we made. Not for one that was received: its bytes have a digest already.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always print")
    }

    /// Whether it describes a container image, as opposed to some other artifact.
    pub fn is_image(&self) -> bool {
        media::is_config(&self.config.media_type)
    }

    /// How many bytes all layers have, as they travel.
    pub fn layers_size_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size))
    }
}

impl Index {
    /// Describes several manifests.
    pub fn new(media_type: &str, manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type.to_owned(),
            artifact_type: None,
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// Prints an index we made.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always print")
    }

    /// Chooses the manifest that serves `platform` best. Attestations are passed over; an entry that does not say its
    /// platform is the last resort. The first of equals wins; if a version of the operating system is asked for, the newest
    /// that serves it.
    pub fn choose(&self, platform: &Platform) -> Option<&Descriptor> {
        self.manifests
            .iter()
            .filter(|entry| !entry.is_attestation())
            .filter_map(|entry| match &entry.platform {
                Some(offered) => platform.rank(offered).map(|rank| ((rank, platform.age(offered)), entry)),
                None => Some(((usize::MAX, platform.age(platform)), entry)),
            })
            .min_by(|(left, _), (right, _)| left.cmp(right))
            .map(|(_, entry)| entry)
    }

    /// The platforms there are images for, attestations aside.
    pub fn platforms(&self) -> Vec<Platform> {
        let images = self.manifests.iter().filter(|entry| !entry.is_attestation());
        images.filter_map(|entry| entry.platform.clone()).collect()
    }
}

enum Kind {
    Manifest,
    Index,
}

/// The fields that tell documents apart.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "schemaVersion", default)]
    schema_version: Option<u32>,
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Shape {
    fn kind(&self, content_type: Option<&str>) -> Result<Kind, DocumentError> {
        let said = self.media_type.as_deref().filter(|said| !said.is_empty()).or(content_type).map(media::essence);
        if self.schema_version == Some(1) || self.fs_layers.is_some() || said.is_some_and(media::is_schema1) {
            return Err(DocumentError::Schema1);
        }
        let manifest = self.config.is_some() || self.layers.is_some();
        let index = self.manifests.is_some();
        match said {
            _ if manifest == index => Err(DocumentError::Ambiguous),
            Some(said) if media::is_manifest(said) && manifest => Ok(Kind::Manifest),
            Some(said) if media::is_index(said) && index => Ok(Kind::Index),
            Some(said) if media::is_manifest(said) || media::is_index(said) => Err(DocumentError::Ambiguous),
            // A server that does not know better; the document itself says nothing.
            _ if self.media_type.is_none() && manifest => Ok(Kind::Manifest),
            _ if self.media_type.is_none() && index => Ok(Kind::Index),
            Some(said) => Err(DocumentError::MediaType(said.to_owned())),
            None => Err(DocumentError::Ambiguous),
        }
    }
}

/// Reads `null` as the empty value, as Go programs write it.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2{extra},"config":{{"mediaType":"{}","digest":"sha256:{HEX}","size":2}},"layers":[]}}"#,
            media::OCI_CONFIG
        )
    }

    fn entry(platform: &str, annotations: &str) -> String {
        format!(
            r#"{{"mediaType":"{}","digest":"sha256:{HEX}","size":7,"platform":{platform},"annotations":{annotations}}}"#,
            media::OCI_MANIFEST
        )
    }

    #[test]
    fn a_document_is_known_by_its_media_type_or_its_content() {
        for text in [manifest(""), manifest(&format!(r#","mediaType":"{}""#, media::OCI_MANIFEST))] {
            assert!(matches!(Document::parse(text.as_bytes(), None), Ok(Document::Manifest(_))));
            assert!(matches!(Document::parse(text.as_bytes(), Some("text/plain")), Ok(Document::Manifest(_))));
        }
        let index = br#"{"schemaVersion":2,"manifests":null}"#;
        assert!(matches!(Document::parse(index, Some(media::OCI_INDEX)), Err(DocumentError::Ambiguous)));
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(Document::parse(index, Some(media::OCI_INDEX)), Ok(Document::Index(_))));
    }

    #[test]
    fn a_document_that_is_two_things_is_refused() {
        let both = manifest(r#","manifests":[]"#);
        assert!(matches!(Document::parse(both.as_bytes(), None), Err(DocumentError::Ambiguous)));
        let lying = manifest(&format!(r#","mediaType":"{}""#, media::OCI_INDEX));
        assert!(matches!(Document::parse(lying.as_bytes(), None), Err(DocumentError::Ambiguous)));
        assert!(matches!(
            Document::parse(manifest("").as_bytes(), Some(media::DOCKER_LIST)),
            Err(DocumentError::Ambiguous)
        ));
    }

    #[test]
    fn schema_1_is_refused_in_words() {
        let old = br#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#;
        let error = Document::parse(old, None).unwrap_err();
        assert!(error.to_string().contains("schema 1"), "{error}");
    }

    #[test]
    fn a_manifest_over_its_limit_is_refused() {
        let large = vec![b' '; MANIFEST_BYTES_MAX as usize + 1];
        assert!(matches!(Document::parse(&large, None), Err(DocumentError::TooLarge)));
        assert!(matches!(Document::parse(b"{", None), Err(DocumentError::Json(_))));
    }

    #[test]
    fn the_newest_windows_of_the_version_asked_for_is_chosen() {
        let versions = ["10.0.17763.5", "10.0.20348.9", "10.0.20348.10", "10.0.20348.2"];
        let windows = |version: &str| format!(r#"{{"architecture":"amd64","os":"windows","os.version":"{version}"}}"#);
        let entries = versions.map(|version| entry(&windows(version), "null")).join(",");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
        let Document::Index(index) = Document::parse(text.as_bytes(), Some(media::OCI_INDEX)).unwrap() else {
            panic!("not an index");
        };
        let check = |wanted: &str, expected: Option<&str>| {
            let wanted = Platform::parse(wanted, &Platform::native()).unwrap();
            let chosen = index.choose(&wanted).and_then(|entry| entry.platform.as_ref());
            assert_eq!(chosen.map(|platform| &*platform.os_version), expected, "{}", wanted.with_version());
        };
        check("windows/amd64", Some("10.0.17763.5"));
        check("windows(10.0.20348)/amd64", Some("10.0.20348.10"));
        check("windows(10.0.20348.9)/amd64", Some("10.0.20348.9"));
        check("windows(10.0.14393)/amd64", None);
        check("linux/amd64", None);
    }

    #[test]
    fn attestations_are_passed_over() {
        let unknown = r#"{"architecture":"unknown","os":"unknown"}"#;
        let amd64 = r#"{"architecture":"amd64","os":"linux"}"#;
        let attested = entry(amd64, r#"{"vnd.docker.reference.type":"attestation-manifest"}"#);
        let entries = [entry(unknown, "null"), attested, entry("null", "null"), entry(amd64, "null")].join(",");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
        let Document::Index(index) = Document::parse(text.as_bytes(), Some(media::OCI_INDEX)).unwrap() else {
            panic!("not an index");
        };
        let chosen = index.choose(&Platform::new("linux", "amd64", "")).unwrap();
        assert_eq!(chosen, &index.manifests[3]);
        assert_eq!(index.choose(&Platform::new("linux", "s390x", "")), Some(&index.manifests[2]));
        assert_eq!(index.platforms().len(), 1);
    }
}
