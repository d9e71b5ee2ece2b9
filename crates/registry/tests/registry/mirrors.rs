//! Mirrors stand in for the registry, and never in its way.

use strata_registry::Client;
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_types::media;

use crate::support::{at, blob, configured, manifest, read, told};

/// A client for which `mirror` stands in for `registry`.
fn mirrored(registry: &MockRegistry, mirror: &str) -> Client {
    let (host, text) = (registry.host(), "[[registry]]\nlocation = 'HOST'\n[[registry.mirror]]\nlocation = 'MIRROR'\n");
    Client::new(configured(&text.replace("HOST", &host).replace("MIRROR", mirror)))
}

#[test]
fn a_mirror_is_asked_first() {
    let (registry, mirror) = (MockRegistry::start(), MockRegistry::start());
    mirror.put_manifest("far/app", "1", media::OCI_MANIFEST, &manifest());
    let client = mirrored(&registry, &format!("{}/far", mirror.host()));
    assert_eq!(client.resolve(&at(&registry, "app:1")).unwrap().bytes, manifest());
    assert_eq!(registry.seen().len(), 0);
}

#[test]
fn what_a_mirror_does_not_have_comes_from_the_registry() {
    let (registry, mirror) = (MockRegistry::start(), MockRegistry::start());
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    let layer = blob(&registry, "app", b"12345");
    let client = mirrored(&registry, &mirror.host());
    assert_eq!(client.resolve(&at(&registry, "app:1")).unwrap().bytes, manifest());
    assert_eq!(read(&client, &at(&registry, "app"), &layer, 0).unwrap(), b"12345");
    let error = client.resolve(&at(&registry, "nope:1")).unwrap_err();
    assert!(told(&error).starts_with("manifest for "), "{}", told(&error));
    assert_eq!(mirror.count("GET", "/v2/app/"), 2);
}

#[test]
fn a_mirror_that_lies_is_passed_over() {
    let (registry, mirror) = (MockRegistry::start(), MockRegistry::start());
    let digest = registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    mirror.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    mirror.rule("GET", "/manifests/", 1, Act::Replace(b"{}".to_vec()));
    let client = mirrored(&registry, &mirror.host());
    assert_eq!(client.manifest(&at(&registry, "app"), &digest).unwrap().bytes, manifest());
}

#[test]
fn a_dead_mirror_is_asked_once() {
    let registry = MockRegistry::start();
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = mirrored(&registry, &format!("127.0.0.1:{port}"));
    for _ in 0..2 {
        assert_eq!(client.resolve(&at(&registry, "app:1")).unwrap().bytes, manifest());
    }
}

#[test]
fn pushes_go_to_the_registry_itself() {
    let (registry, mirror) = (MockRegistry::start(), MockRegistry::start());
    let client = mirrored(&registry, &mirror.host());
    client.push_manifest(&at(&registry, "app:1"), media::OCI_MANIFEST, &manifest()).unwrap();
    assert!(registry.manifest("app", "1").is_some());
    assert_eq!(mirror.seen().len(), 0);
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let registry = MockRegistry::start();
    let text = format!("[[registry]]\nlocation = '{}'\nblocked = true\n", registry.host());
    let error = Client::new(configured(&text)).resolve(&at(&registry, "app:1")).unwrap_err();
    assert!(told(&error).contains("blocked"), "{error}");
    assert_eq!(registry.seen().len(), 0);
}

#[test]
fn a_proxy_stands_between_us_and_all_but_this_machine() {
    let (proxy, near) = (MockRegistry::start(), MockRegistry::start());
    near.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    let proxies = strata_registry::Proxies {
        all: Some(format!("http://{}", proxy.host())),
        ..strata_registry::Proxies::default()
    };
    let settings = configured("[[registry]]\nlocation = 'far.invalid:5000'\ninsecure = true\n");
    let client = Client::new(strata_registry::Settings { proxies, ..settings });
    client.resolve(&"far.invalid:5000/app:1".parse().unwrap()).unwrap_err();
    assert!(proxy.count("GET", "http://far.invalid:5000/v2/") > 0, "{:?}", proxy.seen());
    assert_eq!(client.resolve(&at(&near, "app:1")).unwrap().bytes, manifest());
}
