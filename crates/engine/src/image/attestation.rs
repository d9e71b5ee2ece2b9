//! Statements about images, in the form in which `BuildKit` puts them beside images: a manifest in the index of the
//! image, for the platform `unknown/unknown`, whose layers are in-toto statements
//! (<https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md>).

mod pulled;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use strata_store::records::{Predicate, Said};
use strata_types::document::{Descriptor, Manifest};
use strata_types::reference::Reference;
use strata_types::{Digest, Platform, media};

use crate::{Engine, Result};

/// The largest predicate: an SBOM of a large image has some megabytes.
pub const PREDICATE_BYTES_MAX: u64 = 64 << 20;

/// The annotation that says what a statement attests.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// The media type of a statement.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What a statement is called in its own words (<https://github.com/in-toto/attestation>).
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v0.1";

/// A manifest of statements about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attestation {
    /// Its entry in the index.
    pub(crate) entry: Descriptor,
    /// The manifest.
    pub(crate) manifest: Vec<u8>,
    /// What it names: its config, and the statements.
    pub(crate) blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// Something that is attested of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attested {
    /// What, a URI.
    pub predicate_type: String,
    /// The blob that says it: a statement as it was pulled, or a predicate that was made here.
    pub digest: Digest,
    /// How long that is.
    pub size: u64,
}

impl Engine {
    /// Makes the manifests of what is attested of an image, whose manifest is `subject`: those that it was pulled with if they
    /// speak of that one, else a new one of all predicates.
    pub(crate) fn attestations(
        &self,
        subject: &Descriptor,
        names: &[Reference],
        said: &Said,
    ) -> Result<Vec<Attestation>> {
        let digest = subject.digest.to_string();
        let (mut made, mut predicates) = (Vec::new(), Vec::new());
        for pulled in &said.attestations {
            match pulled.entry.attested() == Some(digest.as_str()) {
                true => made.push(self.as_pulled(pulled)?),
                false => predicates.extend(self.predicates_of_pulled(pulled)?),
            }
        }
        for Predicate { kind, digest } in &said.predicates {
            predicates.push((kind.clone(), self.store().blobs().read_small(digest, PREDICATE_BYTES_MAX)?));
        }
        if predicates.is_empty() {
            return Ok(made);
        }
        let platform = subject.platform.clone().unwrap_or_default();
        let mut statements = Vec::new();
        for (kind, bytes) in predicates {
            let named = subjects(names, &platform).into_iter().map(|name| (name, subject.digest.clone()));
            let text = statement(&kind, &bytes, &named.collect::<Vec<_>>());
            let mut described = Descriptor::of(STATEMENT, &text);
            described.annotations.insert(PREDICATE_TYPE.to_owned(), kind);
            statements.push((described, text));
        }
        made.push(Attestation::of(subject, statements));
        Ok(made)
    }

    /// Lists what is attested of an image.
    pub(super) fn attested(&self, said: &Said) -> Result<Vec<Attested>> {
        let mut attested = Vec::new();
        for pulled in &said.attestations {
            let statement =
                |(predicate_type, Descriptor { digest, size, .. })| Attested { predicate_type, digest, size };
            attested.extend(self.statements_of(pulled)?.into_iter().map(statement));
        }
        for Predicate { kind, digest } in &said.predicates {
            let size = self.store().blobs().size(digest)?.unwrap_or(0);
            attested.push(Attested { predicate_type: kind.clone(), digest: digest.clone(), size });
        }
        Ok(attested)
    }
}

impl Attestation {
    fn of(subject: &Descriptor, statements: Vec<(Descriptor, Vec<u8>)>) -> Self {
        let diff_ids: Vec<&Digest> = statements.iter().map(|(described, _)| &described.digest).collect();
        let config = json!({
            "architecture": "unknown", "os": "unknown", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).expect("strings always print");
        let described = Descriptor::of(media::OCI_CONFIG, &config);
        let layers = statements.iter().map(|(described, _)| described.clone()).collect();
        let manifest = Manifest::new(media::OCI_MANIFEST, described.clone(), layers).to_bytes();
        let mut entry = Descriptor::of(media::OCI_MANIFEST, &manifest);
        entry.platform = Some(Platform::new("unknown", "unknown", ""));
        entry.annotations.insert("vnd.docker.reference.digest".to_owned(), subject.digest.to_string());
        entry.annotations.insert("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
        let blobs = std::iter::once((described, config)).chain(statements).collect();
        Self { entry, manifest, blobs }
    }
}

/// A predicate of some subjects, by their names and digests, as an in-toto statement. The predicate is put in as it is.
pub fn statement(kind: &str, predicate: &[u8], subjects: &[(String, Digest)]) -> Vec<u8> {
    let subject = |(name, digest): &(String, Digest)| json!({"name": name, "digest": { digest.algorithm().name(): digest.hex() }});
    let subject: Vec<_> = subjects.iter().map(subject).collect();
    let predicate: Option<&RawValue> = serde_json::from_slice(predicate).ok();
    #[derive(serde::Serialize)]
    struct Statement<'a> {
        #[serde(rename = "_type")]
        kind: &'static str,
        #[serde(rename = "predicateType")]
        predicate_type: &'a str,
        subject: Vec<serde_json::Value>,
        predicate: Option<&'a RawValue>,
    }
    let whole = Statement { kind: STATEMENT_TYPE, predicate_type: kind, subject, predicate };
    serde_json::to_vec(&whole).expect("strings always print")
}

/// The predicate of a statement, as it stands there, and its type; none if it is no statement.
pub(crate) fn predicate(statement: &[u8]) -> Option<(String, Vec<u8>)> {
    #[derive(serde::Deserialize)]
    struct Statement<'a> {
        #[serde(rename = "predicateType")]
        kind: String,
        #[serde(borrow)]
        predicate: &'a RawValue,
    }
    let Statement { kind, predicate } = serde_json::from_slice(statement).ok()?;
    Some((kind, predicate.get().as_bytes().to_vec()))
}

/// An image's names as package URLs.
fn subjects(names: &[Reference], platform: &Platform) -> Vec<String> {
    let platform = platform.to_string().replace('/', "%2F");
    let named = |name: &Reference| {
        let tag = name.tag().unwrap_or_default();
        format!("pkg:docker/{}@{tag}?platform={platform}", name.familiar_name().replace(':', "%3A"))
    };
    if names.is_empty() { vec!["_".to_owned()] } else { names.iter().map(named).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_says_of_what_it_is() {
        let name: Reference = "localhost:5000/app:1".parse().unwrap();
        let names = subjects(&[name], &Platform::new("linux", "arm", "v7"));
        let subjects: Vec<_> = names.into_iter().map(|name| (name, Digest::sha256(b""))).collect();
        let text = statement("https://example.org/p", br#"{"b":1,"a":2}"#, &subjects);
        let expected = concat!(
            r#"{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://example.org/p","#,
            r#""subject":[{"name":"pkg:docker/localhost%3A5000/app@1?platform=linux%2Farm%2Fv7","digest":{"sha256":"#,
            r#""e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],"predicate":{"b":1,"a":2}}"#
        );
        assert_eq!(predicate(&text), Some(("https://example.org/p".to_owned(), br#"{"b":1,"a":2}"#.to_vec())));
        assert_eq!(predicate(b"{}"), None);
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn an_attestation_is_no_image() {
        let subject = Descriptor::of(media::OCI_MANIFEST, b"{}");
        let attested = Attestation::of(&subject, vec![(Descriptor::of(STATEMENT, b"x"), b"x".to_vec())]);
        assert!(attested.entry.is_attestation());
        assert_eq!(attested.blobs.len(), 2);
    }
}
