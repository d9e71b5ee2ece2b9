//! TLS: whom to believe.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use strata_registry::{Client, Settings};
use strata_testkit::mock_registry::MockRegistry;
use strata_testkit::{host, need};
use strata_types::media;

use crate::support::{at, configured, manifest, settings, told};

/// A registry that speaks TLS with a certificate that nobody knows; the certificate is `ca.crt` in `dir`.
fn start(dir: &Path) -> MockRegistry {
    let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=mock", "-addext", "subjectAltName=IP:127.0.0.1,IP:0.0.0.0", "-days", "2"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let chain = CertificateDer::pem_file_iter(&certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    MockRegistry::start_with(
        "https",
        Box::new(move |stream: TcpStream| {
            let connection = rustls::ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
            Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
        }),
    )
}

fn with_image(dir: &Path) -> MockRegistry {
    let registry = start(dir);
    registry.put_manifest("app", "1", media::OCI_MANIFEST, &manifest());
    registry
}

#[test]
fn a_certificate_nobody_knows_is_refused() {
    need!(host::program("openssl"));
    let dir = tempfile::tempdir().unwrap();
    let registry = with_image(dir.path());
    // By a name that is not this machine's, so that it must be HTTPS.
    let reference = format!("0.0.0.0:{}/app:1", registry.port()).parse().unwrap();
    let error = Client::new(settings()).resolve(&reference).unwrap_err();
    assert!(told(&error).contains("TLS: invalid peer certificate"), "{}", told(&error));
    assert_eq!(registry.seen().len(), 0);
}

#[test]
fn the_certificate_of_a_host_is_kept_in_its_folder() {
    need!(host::program("openssl"));
    let dir = tempfile::tempdir().unwrap();
    let registry = with_image(dir.path());
    let authority = format!("0.0.0.0:{}", registry.port());
    std::fs::create_dir_all(dir.path().join("certs.d").join(&authority)).unwrap();
    std::fs::copy(dir.path().join("ca.crt"), dir.path().join("certs.d").join(&authority).join("ca.crt")).unwrap();
    let client = Client::new(Settings { certs_dirs: vec![dir.path().join("certs.d")], ..settings() });
    let found = client.resolve(&format!("{authority}/app:1").parse().unwrap()).unwrap();
    assert_eq!(found.bytes, manifest());
}

#[test]
fn an_insecure_registry_may_have_any_certificate() {
    need!(host::program("openssl"));
    let dir = tempfile::tempdir().unwrap();
    let registry = with_image(dir.path());
    let text = format!("[[registry]]\nlocation = '{}'\ninsecure = true\n", registry.host());
    let found = Client::new(configured(&text)).resolve(&at(&registry, "app:1")).unwrap();
    assert_eq!(found.bytes, manifest());
}

#[test]
fn plain_http_elsewhere_is_refused_in_words() {
    let registry = MockRegistry::start();
    let reference = format!("0.0.0.0:{}/app:1", registry.port()).parse().unwrap();
    let error = Client::new(settings()).resolve(&reference).unwrap_err();
    assert!(told(&error).starts_with("cannot get the manifest at registry 0.0.0.0:"), "{}", told(&error));
    assert_eq!(registry.seen().len(), 0);
}
