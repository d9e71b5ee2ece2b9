//! Entries of manifest lists in the making, as `docker manifest` keeps and prints them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Descriptor, Index, Platform, Reference, media};

/// One manifest of a list that is being put together; a file of `~/.docker/manifests/LIST/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedManifest {
    /// Where it is.
    #[serde(rename = "Ref")]
    pub reference: Reference,
    /// What it is, with the platform that the list will say.
    #[serde(rename = "Descriptor")]
    pub descriptor: Descriptor,
    /// Its bytes in base64, as Go prints bytes; empty in files of Docker before 17.12.
    #[serde(rename = "Raw", default, skip_serializing_if = "String::is_empty")]
    pub raw: String,
    /// What it says, if it is Docker's.
    #[serde(rename = "SchemaV2Manifest", default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<Value>,
    /// What it says, if it is OCI's.
    #[serde(rename = "OCIManifest", default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<Value>,
}

/// The systems and processors that `docker manifest annotate` takes.
const PLATFORMS: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    ("linux", &["386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x"]),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

impl ListedManifest {
    /// Whether a list may say this platform.
    pub fn may_be_for(platform: &Platform) -> bool {
        PLATFORMS.iter().any(|(os, processors)| *os == platform.os && processors.contains(&&*platform.architecture))
    }
}

/// A list of these manifests as Docker prints and pushes it, byte for byte. The first one decides whether it is Docker's or
/// OCI's.
pub fn printed_list(manifests: &[Descriptor]) -> (&'static str, Vec<u8>) {
    let is_oci = manifests.first().is_some_and(|first| media::essence(&first.media_type) == media::OCI_MANIFEST);
    let media_type = if is_oci { media::OCI_INDEX } else { media::DOCKER_LIST };
    let entry = |manifest: &Descriptor| {
        let platform = manifest.platform.clone().unwrap_or_default();
        json!({
            "mediaType": manifest.media_type, "size": manifest.size, "digest": manifest.digest, "platform": platform,
        })
    };
    let entries: Vec<Value> = manifests.iter().map(entry).collect();
    (media_type, indented(&json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}), "   "))
}

impl Index {
    /// As [`printed_list`], with the media type it has.
    pub fn printed(&self) -> Vec<u8> {
        let (_, bytes) = printed_list(&self.manifests);
        let mut document: Value = serde_json::from_slice(&bytes).expect("it was just printed");
        document["mediaType"] = self.media_type.as_str().into();
        indented(&document, "   ")
    }
}

/// JSON as Go's `json.MarshalIndent` prints it.
pub fn indented(value: &impl Serialize, indent: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    value.serialize(&mut serializer).expect("strings and numbers always print");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn a_list_prints_as_dockers_does() {
        let mut entry = Descriptor::new(media::DOCKER_MANIFEST, Digest::sha256(b""), 7);
        entry.platform = Some(Platform { variant: "v8".to_owned(), ..Platform::new("linux", "arm64", "") });
        let (media_type, bytes) = printed_list(&[entry]);
        assert_eq!(media_type, media::DOCKER_LIST);
        let expected = r#"{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
   "manifests": [
      {
         "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
         "size": 7,
         "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "platform": {
            "architecture": "arm64",
            "os": "linux",
            "variant": "v8"
         }
      }
   ]
}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn some_platforms_there_are_not() {
        let check = |os: &str, processor: &str| ListedManifest::may_be_for(&Platform::new(os, processor, ""));
        assert!(check("linux", "arm64") && check("windows", "amd64"));
        assert!(!check("linux", "foo") && !check("bar", "amd64") && !check("", ""));
    }
}
