//! Against Debian's `docker-registry`.

use std::io::{Cursor, Read};

use strata_registry::Mounted;
use strata_testkit::registry::Registry;
use strata_testkit::{host, need};
use strata_types::{Descriptor, Manifest, Reference, Silent, media};

use crate::relay;
use crate::support::{bytes, client, read, told};

#[test]
fn what_was_pushed_can_be_pulled() {
    need!(host::program("docker-registry"));
    let registry = Registry::start();
    let reference: Reference = format!("{}/some/app:1", registry.host()).parse().unwrap();
    let client = client();
    let contents = [b"{}".to_vec(), bytes(5 << 20), bytes(100)];
    let described: Vec<_> = contents.iter().map(|content| Descriptor::of(media::OCI_LAYER, content)).collect();
    for (content, blob) in contents.iter().zip(&described) {
        let open = |offset: u64| -> std::io::Result<Box<dyn Read + Send>> {
            let mut cursor = Cursor::new(content.clone());
            cursor.set_position(offset);
            Ok(Box::new(cursor))
        };
        assert_eq!(client.has_blob(&reference, &blob.digest).unwrap(), None);
        client.push_blob(&reference, blob, &open, &Silent).unwrap();
        assert_eq!(client.has_blob(&reference, &blob.digest).unwrap(), Some(blob.size));
    }
    let config = Descriptor { media_type: media::OCI_CONFIG.to_owned(), ..described[0].clone() };
    let manifest = Manifest::new(media::OCI_MANIFEST, config, described[1..].to_vec());
    let digest = client.push_manifest(&reference, media::OCI_MANIFEST, &manifest.to_bytes()).unwrap();

    let found = client.resolve(&reference).unwrap();
    assert_eq!((found.descriptor.digest.clone(), found.bytes), (digest, manifest.to_bytes()));
    assert_eq!(client.head(&reference).unwrap(), Some(found.descriptor));
    for (content, blob) in contents.iter().zip(&described) {
        assert!(read(&client, &reference, blob, 0).unwrap() == *content);
        assert!(read(&client, &reference, blob, 1).unwrap() == content[1..]);
    }
    assert_eq!(client.tags(&reference).unwrap(), ["1"]);

    let other: Reference = format!("{}/other:1", registry.host()).parse().unwrap();
    assert_eq!(client.mount_blob(&other, &described[1].digest, "some/app").unwrap(), Mounted::Yes);
    assert_eq!(client.mount_blob(&other, &strata_types::Digest::sha256(b"?"), "some/app").unwrap(), Mounted::No);
    assert!(read(&client, &other, &described[1], 7).unwrap() == contents[1][7..]);
    let error = client.resolve(&other).unwrap_err();
    let expected = format!("manifest for {} not found: manifest unknown: manifest unknown", other.familiar());
    assert_eq!(told(&error), expected);
}

#[test]
fn localhost_is_a_name_like_any_other() {
    need!(host::program("docker-registry"));
    let registry = Registry::start();
    let port = registry.host().split(':').next_back().unwrap_or_default().to_owned();
    let error = client().resolve(&format!("localhost:{port}/nope").parse().unwrap()).unwrap_err();
    assert!(told(&error).starts_with("manifest for localhost:"), "{}", told(&error));
}

#[test]
fn uploads_and_downloads_go_on_after_every_break() {
    need!(host::program("docker-registry"));
    let registry = Registry::start();
    let content = bytes(8 << 20);
    let blob = Descriptor::of(media::OCI_LAYER, &content);
    // What asks for the way breaks too: the first connections carry requests that are tried again from their beginning.
    let host = relay::start(&registry.host(), vec![3 << 20, 1 << 20, 2 << 20, 100]);
    let reference: Reference = format!("{host}/app:1").parse().unwrap();
    let open = |offset: u64| -> std::io::Result<Box<dyn Read + Send>> {
        let mut cursor = Cursor::new(content.clone());
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    };
    client().push_blob(&reference, &blob, &open, &Silent).unwrap();
    let host = relay::start(&registry.host(), vec![3 << 20, 1 << 20, 2 << 20, 1 << 20]);
    let reference: Reference = format!("{host}/app:1").parse().unwrap();
    assert!(read(&client(), &reference, &blob, 0).unwrap() == content);
}
