//! Images that come with what is attested of them, as `BuildKit` pushes them.

use serde_json::json;
use strata_engine::image::{Archive, PullWish, RemoveWish};
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_testkit::{host, need};
use strata_types::document::Descriptor;
use strata_types::{Digest, Silent};

use crate::support::{Fixture, reference, serve, two_layers};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const PROVENANCE: &str = "https://slsa.dev/provenance/v0.2";

/// Puts an image with its provenance into a registry; gives the digests of the image's manifest and of that of the
/// statement.
fn serve_attested(registry: &MockRegistry, repository: &str) -> (Digest, Digest) {
    let (image, _) = serve(registry, &two_layers(), repository);
    let (_, bytes) = registry.manifest(repository, "latest").unwrap();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1", "predicateType": PROVENANCE,
        "subject": [{"name": "pkg:docker/theirs@1", "digest": {"sha256": image.hex()}}],
        "predicate": {"builder": {"id": "theirs"}, "buildType": "https://mobyproject.org/buildkit@v1"},
    });
    let statement = serde_json::to_vec(&statement).unwrap();
    let config = br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let [config, statement] =
        [("application/vnd.oci.image.config.v1+json", &config[..]), ("application/vnd.in-toto+json", &statement)].map(
            |(kind, bytes)| {
                registry.put_blob(repository, bytes);
                Descriptor::of(kind, bytes)
            },
        );
    let mut layer = statement;
    layer.annotations.insert("in-toto.io/predicate-type".to_owned(), PROVENANCE.to_owned());
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let attestation = registry.put_manifest(repository, &Digest::sha256(&manifest).to_string(), MANIFEST, &manifest);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": image, "size": bytes.len(), "platform": {"architecture": "amd64", "os": "linux"}},
        {"mediaType": MANIFEST, "digest": attestation, "size": manifest.len(),
         "annotations": {"vnd.docker.reference.digest": image, "vnd.docker.reference.type": "attestation-manifest"},
         "platform": {"architecture": "unknown", "os": "unknown"}},
    ]});
    registry.put_manifest(repository, "latest", INDEX, &serde_json::to_vec(&index).unwrap());
    (image, attestation)
}

#[test]
fn what_is_attested_of_a_pulled_image_is_pushed_byte_for_byte_and_goes_with_it() {
    need!(host::root());
    let fixture = Fixture::new();
    let (from, to) = (MockRegistry::start(), MockRegistry::start());
    let (image, attestation) = serve_attested(&from, "a");
    let name = reference(&from, "a");
    let pull = || fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    pull();
    pull();
    assert_eq!(from.count("GET", &format!("/v2/a/manifests/{attestation}")), 1);
    let by_digest = format!("{}/a@{}", from.host(), Digest::sha256(&from.manifest("a", "latest").unwrap().1));
    for name in [&name.familiar(), &by_digest] {
        let attested = fixture.engine.inspect_image(name).unwrap().attestations;
        assert_eq!(attested.iter().map(|one| one.predicate_type.as_str()).collect::<Vec<_>>(), [PROVENANCE]);
    }
    let target = reference(&to, "b");
    fixture.engine.tag(&name.familiar(), &target).unwrap();
    fixture.engine.push(&target, false, &Silent).unwrap();
    for name in ["latest", &image.to_string(), &attestation.to_string()] {
        assert_eq!(to.manifest("b", name), from.manifest("a", name), "{name}");
    }
    assert_eq!(fixture.engine.check(false, &Silent).unwrap().findings, []);
    for name in [target, name] {
        fixture.engine.remove_image(&name.familiar(), RemoveWish { force: false, prune: true }, &Silent).unwrap();
    }
    assert_eq!(fixture.content(), Vec::<String>::new());
}

#[test]
fn what_is_attested_of_a_pulled_image_is_saved_and_loaded() {
    need!(host::root());
    let fixture = Fixture::new();
    let registry = MockRegistry::start();
    let (image, _) = serve_attested(&registry, "a");
    let name = reference(&registry, "a");
    fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    let mut saved = Vec::new();
    fixture.engine.save(&[name.familiar()], &[], &mut saved, &Silent).unwrap();
    // Layers in an archive are not compressed: its manifest is another, and the statement is about that.
    let text = String::from_utf8_lossy(&saved);
    assert!(
        text.contains(r#""predicate":{"builder":{"id":"theirs"},"buildType":"https://mobyproject.org/buildkit@v1"}"#)
    );
    assert!(!text.contains(image.hex()));
    let other = Fixture::new();
    let path = other.dir.path().join("archive.tar");
    std::fs::write(&path, &saved).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    other.engine.load(Archive::File(file), "archive.tar", &[], &Silent).unwrap();
    let attested = other.engine.inspect_image(&name.familiar()).unwrap().attestations;
    assert_eq!(attested.iter().map(|one| one.predicate_type.as_str()).collect::<Vec<_>>(), [PROVENANCE]);
    let mut again = Vec::new();
    other.engine.save(&[name.familiar()], &[], &mut again, &Silent).unwrap();
    assert_eq!(again, saved);
}

#[test]
fn an_attestation_that_is_not_there_is_in_nobodys_way() {
    need!(host::root());
    let fixture = Fixture::new();
    let (from, to) = (MockRegistry::start(), MockRegistry::start());
    let (image, attestation) = serve_attested(&from, "a");
    from.rule(
        "GET",
        &format!("/v2/a/manifests/{attestation}"),
        usize::MAX,
        Act::Answer(404, Vec::new(), String::new()),
    );
    let name = reference(&from, "a");
    fixture.engine.pull(&name, &PullWish::default(), &Silent).unwrap();
    assert_eq!(fixture.engine.inspect_image(&name.familiar()).unwrap().attestations, []);
    let target = reference(&to, "b");
    fixture.engine.tag(&name.familiar(), &target).unwrap();
    assert_eq!(fixture.engine.push(&target, false, &Silent).unwrap()[0].digest, image);
}
