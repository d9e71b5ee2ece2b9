//! TLS: the system's roots, a registry's own certificates, or no check at all where a registry is listed as insecure.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::{Error, Result};

/// What a folder such as `/etc/docker/certs.d/HOST:PORT` holds.
#[derive(Debug, Default)]
pub(crate) struct HostCertificates {
    /// `*.crt`: whom else to trust.
    roots: Vec<CertificateDer<'static>>,
    /// `NAME.cert` and `NAME.key`: how to show who we are.
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl HostCertificates {
    /// Reads a host's folder.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let fault = |source| Error::Certificate { what: dir.display().to_string(), source };
        let entries = std::fs::read_dir(dir).map_err(fault)?;
        let mut paths =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(fault)?;
        paths.sort();
        let mut found = Self::default();
        for path in paths {
            match path.extension().and_then(std::ffi::OsStr::to_str) {
                Some("crt") => found.roots.extend(certificates(&path)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| bad_pem(&key, &error))?;
                    found.client = Some((certificates(&path)?, secret));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The first of the folders below `dirs` that is for `authority`.
pub(crate) fn host_dir(dirs: &[PathBuf], authority: &str) -> Option<PathBuf> {
    if authority.contains('/') || authority.starts_with('.') {
        return None;
    }
    dirs.iter().map(|dir| dir.join(authority)).find(|dir| dir.is_dir())
}

/// A config for hosts that speak no TLS: nothing is read from the disk, and nobody would be trusted.
pub(crate) fn distrusting() -> Result<ClientConfig> {
    let builder = builder()?.with_root_certificates(RootCertStore::empty());
    Ok(builder.with_no_client_auth())
}

/// A config that trusts the system's roots and those of `host`; with `verify` off, everybody.
pub(crate) fn config(host: Option<HostCertificates>, verify: bool) -> Result<ClientConfig> {
    let host = host.unwrap_or_default();
    let builder = if verify {
        builder()?.with_root_certificates(roots(host.roots))
    } else {
        builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(provider().signature_verification_algorithms)))
    };
    let mut config = match host.client {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(unusable)
}

fn roots(extra: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "some of the system's certificates cannot be read");
    }
    let (added, ignored) = store.add_parsable_certificates(system.certs.into_iter().chain(extra));
    tracing::debug!(added, ignored, "trusted certificates");
    store
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let fault = |error: &rustls::pki_types::pem::Error| bad_pem(path, error);
    let found = CertificateDer::pem_file_iter(path).map_err(|error| fault(&error))?;
    found.collect::<Result<Vec<_>, _>>().map_err(|error| fault(&error))
}

fn bad_pem(path: &Path, error: &rustls::pki_types::pem::Error) -> Error {
    let source = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    Error::Certificate { what: path.display().to_string(), source }
}

fn unusable(error: rustls::Error) -> Error {
    Error::Certificate { what: "the TLS configuration".to_owned(), source: io::Error::other(error) }
}

/// Believes every certificate; signatures must still fit it.
#[derive(Debug)]
struct Credulous(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
