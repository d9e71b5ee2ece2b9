//! Manifests and blobs, on good days and bad ones.

use std::io::Read as _;

use strata_registry::Error;
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_types::{Digest, Document, media};

use crate::support::{at, blob, bytes, client, configured, manifest, read, told};

#[test]
fn a_tag_leads_to_a_manifest_with_its_digest() {
    let registry = MockRegistry::start();
    let digest = registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    let found = client().resolve(&at(&registry, "app:1")).unwrap();
    assert_eq!((&found.descriptor.digest, &found.bytes), (&digest, &manifest()));
    assert_eq!(found.descriptor.media_type, media::OCI_MANIFEST);
    assert!(matches!(found.content, Document::Manifest(_)));
    let by_digest = client().manifest(&at(&registry, "app:1"), &digest).unwrap();
    assert_eq!(by_digest, found);
    assert_eq!(client().head(&at(&registry, "app:1")).unwrap(), Some(found.descriptor));
}

#[test]
fn what_is_not_there_is_told_as_docker_does() {
    let registry = MockRegistry::start();
    let error = client().resolve(&at(&registry, "nope:1")).unwrap_err();
    let host = registry.host();
    assert_eq!(told(&error), format!("manifest for {host}/nope:1 not found: manifest unknown: manifest unknown"));
    let absent = strata_types::Descriptor::of(media::OCI_LAYER, b"absent");
    let error = read(&client(), &at(&registry, "nope"), &absent, 0).unwrap_err();
    assert_eq!(told(&error), format!("blob {} of {host}/nope not found", absent.digest));
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    registry.rule("GET", "/secret/", 1, Act::Answer(403, Vec::new(), denied.to_owned()));
    let error = client().resolve(&at(&registry, "secret")).unwrap_err();
    let expected = format!(
        "pull access denied for {host}/secret, repository does not exist or may require 'strata login': \
         denied: requested access to the resource is denied"
    );
    assert_eq!(told(&error), expected);
}

#[test]
fn nobody_there_is_one_clear_sentence() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let reference = format!("localhost:{port}/app").parse().unwrap();
    let error = client().resolve(&reference).unwrap_err();
    assert_eq!(told(&error), format!("cannot get the manifest at registry localhost:{port}: connection refused"));
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let registry = MockRegistry::start();
    let digest = registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    registry.rule("GET", "/manifests/", 1, Act::Replace(b"{}".to_vec()));
    let error = client().manifest(&at(&registry, "app"), &digest).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}

#[test]
fn a_manifest_over_its_limit_is_refused() {
    let registry = MockRegistry::start();
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &vec![b' '; (4 << 20) + 1]);
    let error = client().resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn a_manifest_of_schema_1_is_refused_in_words() {
    let registry = MockRegistry::start();
    registry.put_manifest("app", "1", media::DOCKER_SCHEMA1, br#"{"schemaVersion":1,"fsLayers":[]}"#);
    let error = client().resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(told(&error).contains("schema 1"), "{error}");
}

#[test]
fn a_manifest_that_was_cut_is_asked_for_again() {
    let registry = MockRegistry::start();
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    registry.rule("GET", "/manifests/", 2, Act::CutAfter(10));
    assert_eq!(client().resolve(&at(&registry, "app:1")).unwrap().bytes, manifest());
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let registry = MockRegistry::start();
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    let later = vec![("Retry-After".to_owned(), "0".to_owned())];
    registry.rule("GET", "/manifests/", 2, Act::Answer(429, later, String::new()));
    registry.rule("GET", "/manifests/", 1, Act::Answer(503, Vec::new(), String::new()));
    assert_eq!(client().resolve(&at(&registry, "app:1")).unwrap().bytes, manifest());
    assert_eq!(registry.count("GET", "/manifests/"), 4);
}

#[test]
fn a_wait_longer_than_our_patience_is_an_error_at_once() {
    let registry = MockRegistry::start();
    let later = vec![("Retry-After".to_owned(), "86400".to_owned())];
    let text = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    registry.rule("GET", "/manifests/", 9, Act::Answer(429, later, text.to_owned()));
    let error = client().resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(told(&error).ends_with("toomanyrequests: You have reached your pull rate limit."), "{}", told(&error));
    assert_eq!(registry.count("GET", "/manifests/"), 1);
}

#[test]
fn a_blob_may_be_read_from_the_middle() {
    let registry = MockRegistry::start();
    let content = bytes(100_000);
    let layer = blob(&registry, "app", &content);
    let reference = at(&registry, "app");
    for offset in [0, 1, 99_999, 100_000] {
        assert!(read(&client(), &reference, &layer, offset as u64).unwrap() == content[offset..], "from {offset}");
    }
    registry.rule("GET", "/blobs/", 1, Act::IgnoreRange);
    assert!(read(&client(), &reference, &layer, 54_321).unwrap() == content[54_321..], "ranges ignored");
}

#[test]
fn a_blob_goes_on_where_the_connection_broke() {
    let registry = MockRegistry::start();
    let content = bytes(3_000_000);
    let layer = blob(&registry, "app", &content);
    // More breaks than attempts: what counts is that each brings something new.
    registry.rule("GET", "/blobs/", 9, Act::CutAfter(200_000));
    assert!(read(&client(), &at(&registry, "app"), &layer, 0).unwrap() == content);
    assert_eq!(registry.count("GET", "/blobs/"), 10);
    let ranges: Vec<_> = registry.seen().iter().filter_map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.len(), 9, "all but the first ask for a range: {ranges:?}");
}

#[test]
fn a_blob_that_never_comes_ends_in_an_error() {
    let registry = MockRegistry::start();
    let layer = blob(&registry, "app", &bytes(1000));
    registry.rule("GET", "/blobs/", 1, Act::CutAfter(500));
    registry.rule("GET", "/blobs/", 99, Act::Hang);
    let error = read(&client(), &at(&registry, "app"), &layer, 0).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
}

#[test]
fn a_blob_of_another_size_is_refused() {
    let registry = MockRegistry::start();
    let content = bytes(1000);
    let layer = blob(&registry, "app", &content);
    let long = [&content[..], b"x"].concat();
    for act in [Act::Truncate(900), Act::Replace(long)] {
        registry.rule("GET", "/blobs/", 9, act);
        let error = read(&client(), &at(&registry, "app"), &layer, 0).unwrap_err();
        assert!(matches!(error, Error::SizeMismatch { .. }), "{error}");
        registry.rule("GET", "/blobs/", 0, Act::Hang);
    }
}

#[test]
fn a_blob_with_another_digest_is_found_out() {
    let registry = MockRegistry::start();
    let layer = blob(&registry, "app", &bytes(1000));
    registry.rule("GET", "/blobs/", 2, Act::Replace(vec![0; 1000]));
    let reader = client().blob(&at(&registry, "app"), &layer, 0).unwrap();
    let error = reader.verified(&layer).read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().starts_with("digest of what"), "{error}");
    let error = client().small_blob(&at(&registry, "app"), &layer, 1000).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    assert_eq!(Digest::sha256(&client().small_blob(&at(&registry, "app"), &layer, 1000).unwrap()), layer.digest);
    let error = client().small_blob(&at(&registry, "app"), &layer, 999).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

/// The name by which a loopback registry is not known as one, so that it is treated like one far away.
fn far(registry: &MockRegistry) -> (strata_registry::Client, strata_types::Reference) {
    let host = format!("0.0.0.0:{}", registry.port());
    let settings = configured(&format!("[[registry]]\nlocation = '{host}'\ninsecure = true\n"));
    (strata_registry::Client::new(settings), format!("{host}/app").parse().unwrap())
}

#[test]
fn a_large_blob_comes_in_ranges_that_go_on_where_they_broke() {
    let registry = MockRegistry::start();
    let content = bytes(50 << 20);
    let layer = blob(&registry, "app", &content);
    let (client, reference) = far(&registry);
    registry.rule("GET", "/blobs/", 3, Act::CutAfter(1 << 20));
    registry.rule("GET", "/blobs/", 1, Act::IgnoreRange);
    assert!(read(&client, &reference, &layer, 12_345).unwrap() == content[12_345..]);
    assert!(registry.count("GET", "/blobs/") >= 7, "several ranges were asked for");
}

#[test]
fn a_server_without_ranges_sends_a_large_blob_in_one_stream() {
    let registry = MockRegistry::start();
    let content = bytes(33 << 20);
    let layer = blob(&registry, "app", &content);
    let (client, reference) = far(&registry);
    registry.rule("GET", "/blobs/", 99, Act::IgnoreRange);
    assert!(read(&client, &reference, &layer, 0).unwrap() == content);
    assert_eq!(registry.count("GET", "/blobs/"), 1);
}

#[test]
fn tags_are_listed() {
    let registry = MockRegistry::start();
    for tag in ["2", "1"] {
        registry.put_manifest("app", tag, media::OCI_MANIFEST, &manifest());
    }
    assert_eq!(client().tags(&at(&registry, "app")).unwrap(), ["1", "2"]);
    let error = client().tags(&at(&registry, "nope")).unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
}

#[test]
fn a_layer_may_be_at_its_urls() {
    let (registry, elsewhere) = (MockRegistry::start(), MockRegistry::start());
    let content = bytes(100_000);
    let mut layer = strata_types::Descriptor::of(media::DOCKER_FOREIGN_GZIP, &content);
    elsewhere.put_blob("far", &content);
    let there = format!("http://{}/v2/far/blobs/{}", elsewhere.host(), layer.digest);
    layer.urls = vec!["file:///etc/passwd".to_owned(), format!("http://{}/gone", elsewhere.host()), there];
    for offset in [0, 99_000] {
        let found = read(&client(), &at(&registry, "app"), &layer, offset).unwrap();
        assert_eq!(found, content[usize::try_from(offset).unwrap()..]);
    }
    assert!(registry.count("GET", "/v2/app/blobs/") > 0, "the registry itself is asked first");
    layer.urls.pop();
    let error = read(&client(), &at(&registry, "app"), &layer, 0).unwrap_err();
    assert_eq!(told(&error), format!("blob {} of {}/app not found", layer.digest, registry.host()));
}

#[test]
fn a_date_to_come_back_is_waited_for() {
    let registry = MockRegistry::start();
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    let past = vec![("Retry-After".to_owned(), "Wed, 21 Oct 2015 07:28:00 GMT".to_owned())];
    registry.rule("GET", "/manifests/", 1, Act::Answer(429, past, String::new()));
    client().resolve(&at(&registry, "app:1")).unwrap();
    let far = vec![("Retry-After".to_owned(), "Fri, 21 Oct 2095 07:28:00 GMT".to_owned())];
    registry.rule("GET", "/manifests/", 1, Act::Answer(429, far, String::new()));
    let error = client().resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(told(&error).contains("429"), "a wait that no one has patience for is none: {}", told(&error));
}
