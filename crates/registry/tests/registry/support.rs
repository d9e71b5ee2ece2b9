//! What the tests have in common.

use std::error::Error as _;
use std::io::Read as _;
use std::time::Duration;

use strata_registry::conf::{ConfFiles, Registries};
use strata_registry::{Client, Error, Patience, Settings};
use strata_testkit::mock_registry::MockRegistry;
use strata_types::{Descriptor, Reference, media};

/// Settings that wait for nothing.
pub(crate) fn settings() -> Settings {
    let patience = Patience {
        connect: Duration::from_secs(10),
        idle: Duration::from_secs(10),
        backoff: Duration::from_millis(1),
        backoff_max: Duration::from_secs(2),
        attempts: 4,
    };
    Settings { patience, ..Settings::new("strata-test") }
}

pub(crate) fn client() -> Client {
    Client::new(settings())
}

/// The settings that a `registries.conf` with this text makes.
pub(crate) fn configured(text: &str) -> Settings {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registries.conf");
    std::fs::write(&path, text).unwrap();
    let registries = Registries::load(&ConfFiles { registries: vec![path], daemon: None }).unwrap();
    Settings { registries, ..settings() }
}

/// A reference to `path` at the mock.
pub(crate) fn at(registry: &MockRegistry, path: &str) -> Reference {
    format!("{}/{path}", registry.host()).parse().unwrap()
}

/// Bytes that are nowhere the same.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Puts a blob at the mock and describes it.
pub(crate) fn blob(registry: &MockRegistry, repository: &str, bytes: &[u8]) -> Descriptor {
    registry.put_blob(repository, bytes);
    Descriptor::of(media::OCI_LAYER, bytes)
}

/// An image without layers.
pub(crate) fn manifest() -> Vec<u8> {
    let config = Descriptor::of(media::OCI_CONFIG, b"{}");
    strata_types::Manifest::new(media::OCI_MANIFEST, config, Vec::new()).to_bytes()
}

/// Reads a blob from `offset` to its end.
pub(crate) fn read(client: &Client, reference: &Reference, blob: &Descriptor, offset: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut reader = client.blob(reference, blob, offset)?;
    reader.read_to_end(&mut bytes).map_err(|error| Error::of_io(error, reference))?;
    Ok(bytes)
}

/// An error with its causes, as the command line prints it.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
