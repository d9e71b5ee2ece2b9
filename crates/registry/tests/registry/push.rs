//! Uploads, on good days and bad ones.

use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strata_registry::{Error, Mounted};
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_types::{Descriptor, Digest, Silent, Watch, media};

use crate::support::{at, blob, bytes, client, manifest, told};

/// Pushes `content` and gives back what the registry has then.
fn push(registry: &MockRegistry, content: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let layer = Descriptor::of(media::OCI_LAYER, content);
    let held = content.to_vec();
    let open = move |offset: u64| -> io::Result<Box<dyn Read + Send>> {
        let mut cursor = Cursor::new(held.clone());
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    };
    client().push_blob(&at(registry, "app"), &layer, &open, &Silent)?;
    Ok(registry.blob("app", &layer.digest))
}

#[test]
fn blobs_of_all_sizes_arrive() {
    let registry = MockRegistry::start();
    for size in [0, 1, 100_000, 5 << 20] {
        let content = bytes(size);
        assert!(push(&registry, &content).unwrap() == Some(content), "{size} bytes");
    }
}

#[test]
fn an_upload_goes_on_where_the_connection_broke() {
    let registry = MockRegistry::start();
    let content = bytes(5 << 20);
    registry.rule("PATCH", "/uploads/", 1, Act::CutUpload(2 << 20));
    registry.rule("PATCH", "/uploads/", 1, Act::CutUpload(1 << 20));
    assert!(push(&registry, &content).unwrap() == Some(content));
    let ranges: Vec<_> =
        registry.seen().iter().filter_map(|seen| seen.header("content-range").map(str::to_owned)).collect();
    let last = (5 << 20) - 1;
    assert_eq!(ranges, [format!("{}-{last}", 2 << 20), format!("{}-{last}", 3 << 20)]);
}

#[test]
fn an_upload_outlives_faults_of_the_server() {
    let registry = MockRegistry::start();
    let content = bytes(3 << 20);
    registry.rule("POST", "/uploads/", 1, Act::Answer(502, Vec::new(), String::new()));
    registry.rule("PATCH", "/uploads/", 1, Act::Answer(500, Vec::new(), String::new()));
    registry.rule("PUT", "/uploads/", 2, Act::Answer(503, Vec::new(), String::new()));
    assert!(push(&registry, &content).unwrap() == Some(content));
}

#[test]
fn a_lost_session_begins_anew() {
    let registry = MockRegistry::start();
    let content = bytes(3 << 20);
    let gone = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown"}]}"#;
    registry.rule("PATCH", "/uploads/", 1, Act::Answer(404, Vec::new(), gone.to_owned()));
    registry.rule("GET", "/uploads/", 1, Act::Answer(404, Vec::new(), gone.to_owned()));
    assert!(push(&registry, &content).unwrap() == Some(content));
    assert_eq!(registry.count("POST", "/uploads/"), 2);
}

#[test]
fn a_server_that_takes_no_large_requests_gets_smaller_ones() {
    let registry = MockRegistry::start();
    let content = bytes(40 << 20);
    registry.rule("PATCH", "/uploads/", 1, Act::Answer(413, Vec::new(), String::new()));
    assert!(push(&registry, &content).unwrap() == Some(content));
    assert_eq!(registry.count("PATCH", "/uploads/"), 3);
}

#[test]
fn a_refused_upload_says_why() {
    let registry = MockRegistry::start();
    let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    registry.rule("POST", "/uploads/", 1, Act::Answer(403, Vec::new(), denied.to_owned()));
    let error = push(&registry, b"x").unwrap_err();
    let host = registry.host();
    let expected = format!(
        "push access denied for {host}/app, which may require 'strata login': \
         denied: requested access to the resource is denied"
    );
    assert_eq!(told(&error), expected);
}

#[test]
fn a_source_that_ends_too_early_is_an_error() {
    let registry = MockRegistry::start();
    let layer = Descriptor::of(media::OCI_LAYER, &bytes(3 << 20));
    let open = |_: u64| -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::repeat(0).take(2 << 20))) };
    let error = client().push_blob(&at(&registry, "app"), &layer, &open, &Silent).unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    assert_eq!(registry.blob("app", &layer.digest), None);
}

/// Counts, and wants to stop after the first progress.
#[derive(Default)]
struct Impatient {
    done: AtomicU64,
    stop: AtomicBool,
}

impl Watch for Impatient {
    fn phase(&self, _item: &Digest, _phase: &str) {}
    fn progress(&self, _item: &Digest, done_bytes: u64, _total_bytes: u64) {
        self.done.store(done_bytes, Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
    }
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[test]
fn an_upload_can_be_cancelled() {
    let registry = MockRegistry::start();
    let layer = Descriptor::of(media::OCI_LAYER, &bytes(5 << 20));
    let open = |_: u64| -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(Cursor::new(bytes(5 << 20)))) };
    let watch = Impatient::default();
    let error = client().push_blob(&at(&registry, "app"), &layer, &open, &watch).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert!(watch.done.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_blob_that_is_there_is_not_uploaded() {
    let registry = MockRegistry::start();
    let layer = blob(&registry, "other/app", b"12345");
    let reference = at(&registry, "app");
    assert_eq!(client().has_blob(&reference, &layer.digest).unwrap(), None);
    assert_eq!(client().mount_blob(&reference, &layer.digest, "other/app").unwrap(), Mounted::Yes);
    assert_eq!(client().has_blob(&reference, &layer.digest).unwrap(), Some(5));
    let absent = Digest::sha256(b"absent");
    assert_eq!(client().mount_blob(&reference, &absent, "other/app").unwrap(), Mounted::No);
    assert_eq!(registry.count("DELETE", "/uploads/"), 1, "the upload that began instead is given up");
}

#[test]
fn a_manifest_is_put_under_its_tag() {
    let registry = MockRegistry::start();
    let digest = client().push_manifest(&at(&registry, "app:1"), media::OCI_MANIFEST, &manifest()).unwrap();
    assert_eq!(digest, Digest::sha256(&manifest()));
    let expected = Some((media::OCI_MANIFEST.to_owned(), manifest()));
    assert_eq!(registry.manifest("app", "1"), expected);
    client().push_manifest(&at(&registry, "app"), media::OCI_MANIFEST, b"{}").unwrap();
    assert_eq!(registry.count("PUT", &format!("/manifests/{}", Digest::sha256(b"{}"))), 1);
}
