//! The tables of `registries.conf`, version 2 (containers-registries.conf(5)). Keys we have no use for are passed over:
//! `unqualified-search-registries`, because short names mean Docker Hub here, and `short-name-mode`.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub(super) struct TomlFile {
    #[serde(default)]
    pub(super) registry: Vec<RegistryTable>,
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RegistryTable {
    #[serde(default)]
    pub(super) prefix: String,
    #[serde(default)]
    pub(super) location: String,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(default)]
    pub(super) blocked: bool,
    #[serde(rename = "mirror-by-digest-only", default)]
    pub(super) mirror_by_digest_only: bool,
    #[serde(default, rename = "mirror")]
    pub(super) mirrors: Vec<MirrorTable>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct MirrorTable {
    pub(super) location: String,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(rename = "pull-from-mirror", default)]
    pub(super) pull_from_mirror: PullFromMirror,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PullFromMirror {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl RegistryTable {
    /// The prefix that is matched: the location where none is given.
    pub(super) fn prefix(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    /// What is wrong with the table, in a sentence.
    pub(super) fn fault(&self) -> Option<String> {
        let prefix = self.prefix();
        if prefix.is_empty() {
            return Some("a [[registry]] has neither prefix nor location".to_owned());
        }
        if prefix.starts_with("*.") && !self.location.is_empty() {
            return Some(format!("location cannot be set for the wildcard prefix `{prefix}`"));
        }
        let locations = self.mirrors.iter().map(|mirror| &mirror.location).chain([&self.location]);
        locations
            .filter(|location| location.contains("://"))
            .map(|location| format!("location `{location}` must not have a scheme"))
            .next()
    }

    /// The length of the match with `name`, which is `HOST[:PORT]/PATH[:TAG][@DIGEST]`; longer matches win.
    pub(super) fn matches(&self, name: &str) -> Option<usize> {
        let prefix = self.prefix();
        if let Some(suffix) = prefix.strip_prefix('*') {
            let host = name.split(['/', '@']).next().unwrap_or_default();
            let host = host.split(':').next().unwrap_or_default();
            return (host.len() > suffix.len() && host.ends_with(suffix)).then_some(prefix.len());
        }
        let rest = name.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(prefix.len())
    }
}

impl MirrorTable {
    /// Whether the mirror serves what is asked for by digest, or else by tag.
    pub(super) fn serves(&self, by_digest: bool) -> bool {
        match self.pull_from_mirror {
            PullFromMirror::All => true,
            PullFromMirror::DigestOnly => by_digest,
            PullFromMirror::TagOnly => !by_digest,
        }
    }
}
