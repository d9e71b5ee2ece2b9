//! What builds remember, as a document that travels: BuildKit's cache config, so that registries and tools know it.
//!
//! ```text
//! manifest (OCI)      config: this document     layers: the blobs it names
//! { "layers":  [ { "blob": sha256:…, "parent": 0 | -1, "annotations": { mediaType, diffID, size, createdAt } } ],
//!   "records": [ { "digest": sha256:KEY, "results": [ { "layer": 0, "createdAt": … } ] } ] }
//! ```
//!
//! A record says that the step with this key adds that layer to the layers below it, which its key names; without a result
//! it adds none. Inside an image's config (`inline`) there are only records, and `layer` is the place among the image's own.
//! The keys are this program's: BuildKit finds nothing in it, nor do we in what BuildKit wrote, and neither is disturbed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, DiffId, Digest};

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
/// The field of an image's config that has the document's base64.
pub const INLINE_FIELD: &str = "moby.buildkit.cache.v0";
/// The largest that is read: some 100,000 steps.
pub const BYTES_MAX: u64 = 32 << 20;

/// What builds remember.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildCache {
    /// The layers that steps added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<CacheLayer>,
    /// The steps.
    #[serde(default)]
    pub records: Vec<CacheRecord>,
}

/// A layer that a step added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheLayer {
    /// Its compressed form.
    pub blob: Digest,
    /// The place of the one below; -1 if that is a base image's.
    #[serde(rename = "parent")]
    pub below: i64,
    /// What else is known of it.
    pub annotations: CacheAnnotations,
}

/// What is known of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheAnnotations {
    /// What kind of bytes the compressed form is.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// The digest of its tar.
    #[serde(rename = "diffID")]
    pub diff_id: DiffId,
    /// How many bytes the compressed form has.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// When it was made.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// Its key.
    pub digest: Digest,
    /// The layer that it added; none if it changed nothing.
    #[serde(default)]
    pub results: Vec<CacheResult>,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheResult {
    /// The layer's place.
    pub layer: usize,
    /// When it was made.
    #[serde(rename = "createdAt", default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

impl CacheLayer {
    /// Its compressed form as manifests name it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.annotations.media_type, self.blob.clone(), self.annotations.size_bytes)
    }
}

impl BuildCache {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("nothing in it can fail to be written")
    }

    /// What a step came to by its key: `None` if it is not here, `Some(None)` if it added nothing.
    pub fn by_key(&self) -> BTreeMap<&str, Option<&CacheResult>> {
        self.records.iter().map(|record| (record.digest.hex(), record.results.first())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_buildkit_writes_it() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64)).parse::<Digest>().unwrap();
        let cache = BuildCache {
            layers: vec![CacheLayer {
                blob: digest("a"),
                below: -1,
                annotations: CacheAnnotations {
                    media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
                    diff_id: format!("sha256:{}", "b".repeat(64)).parse().unwrap(),
                    size_bytes: 7,
                    created: Some("2026-01-02T03:04:05Z".to_owned()),
                },
            }],
            records: vec![
                CacheRecord { digest: digest("c"), results: vec![CacheResult { layer: 0, created: None }] },
                CacheRecord { digest: digest("d"), results: Vec::new() },
            ],
        };
        let text = String::from_utf8(cache.to_bytes()).unwrap();
        let (a, b, c, d) = ("a".repeat(64), "b".repeat(64), "c".repeat(64), "d".repeat(64));
        assert_eq!(
            text,
            format!(
                r#"{{"layers":[{{"blob":"sha256:{a}","parent":-1,"annotations":{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","diffID":"sha256:{b}","size":7,"createdAt":"2026-01-02T03:04:05Z"}}}}],"records":[{{"digest":"sha256:{c}","results":[{{"layer":0}}]}},{{"digest":"sha256:{d}","results":[]}}]}}"#
            )
        );
        assert_eq!(BuildCache::parse(text.as_bytes()).unwrap(), cache);
        let found = cache.by_key();
        assert_eq!(
            (found.get(&*c).map(Option::is_some), found.get(&*d), found.get(&*a)),
            (Some(true), Some(&None), None)
        );
    }

    #[test]
    fn what_buildkit_wrote_is_read_and_knows_no_key_of_ours() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let text = format!(
            r#"{{"layers":[{{"blob":"sha256:{a}","parent":-1,"annotations":{{"mediaType":"x","diffID":"sha256:{b}","size":7,"createdAt":"0001-01-01T00:00:00Z"}}}}],
               "records":[{{"results":[{{"layer":0,"createdAt":"2024-01-01T00:00:00Z"}}],"digest":"sha256:{b}","inputs":[[{{"link":0}}]]}}]}}"#
        );
        assert_eq!(BuildCache::parse(text.as_bytes()).unwrap().records.len(), 1);
        assert!(BuildCache::parse(b"nonsense").is_err());
    }
}
