//! What can go wrong between us and a registry. The texts are those a Docker user knows.

use std::io;

use strata_types::document::DocumentError;
use strata_types::{Digest, ErrorClass};

use crate::auth::CredentialError;
use crate::conf::ConfError;

/// The result of an exchange with a registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an exchange with a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such tag or digest.
    #[error("manifest for {reference} not found")]
    ManifestNotFound {
        /// The familiar form of what was asked for.
        reference: String,
        /// What the registry said.
        source: Refusal,
    },
    /// The registry knows no such repository.
    #[error("repository {name} not found")]
    RepositoryNotFound {
        /// The familiar name.
        name: String,
        /// What the registry said.
        source: Refusal,
    },
    /// The registry does not let us read there, or there is nothing.
    #[error("pull access denied for {name}, repository does not exist or may require 'strata login'")]
    PullDenied {
        /// The familiar name.
        name: String,
        /// What the registry said.
        source: Refusal,
    },
    /// The registry does not let us write there.
    #[error("push access denied for {name}, which may require 'strata login'")]
    PushDenied {
        /// The familiar name.
        name: String,
        /// What the registry said.
        source: Refusal,
    },
    /// User name and password are wrong.
    #[error("login to {host} was refused")]
    LoginRefused {
        /// The registry.
        host: String,
        /// What it said.
        source: Refusal,
    },
    /// A blob that a manifest names is not there.
    #[error("blob {digest} of {name} not found")]
    BlobNotFound {
        /// Which blob.
        digest: Digest,
        /// The familiar name of the repository.
        name: String,
    },
    /// The registry refused for another reason.
    #[error("registry {host} refused to {act}")]
    Refused {
        /// The registry.
        host: String,
        /// What we wanted to do.
        act: String,
        /// What it said.
        source: Refusal,
    },
    /// The registry could not be reached, or the connection broke and did not come back.
    #[error("cannot {act} at registry {host}")]
    Network {
        /// The registry.
        host: String,
        /// What we wanted to do.
        act: String,
        /// Why.
        source: NetworkError,
    },
    /// The registry asks for authentication in a way that cannot be followed.
    #[error("registry {host} asks for authentication in an unusable way: {why}")]
    Challenge {
        /// The registry.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// The bytes are not those that were asked for.
    #[error("digest of what {host} sent is {actual}, expected {expected}")]
    DigestMismatch {
        /// The registry.
        host: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// There are more or fewer bytes than the descriptor says.
    #[error("{host} sent {actual_bytes} bytes for {digest}, expected {expected_bytes}")]
    SizeMismatch {
        /// The registry.
        host: String,
        /// Which blob.
        digest: Digest,
        /// What the descriptor says.
        expected_bytes: u64,
        /// What came.
        actual_bytes: u64,
    },
    /// A document or an answer is larger than we read.
    #[error("{host} sent more than {limit_bytes} bytes as {what}")]
    TooLarge {
        /// The registry.
        host: String,
        /// What it was.
        what: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A manifest cannot be used.
    #[error("cannot use the manifest of {reference}")]
    Document {
        /// The familiar form of what was asked for.
        reference: String,
        /// Why.
        source: DocumentError,
    },
    /// A file could not be fetched from the web.
    #[error("cannot fetch {url}")]
    Web {
        /// Which, without a password.
        url: String,
        /// Why not.
        source: NetworkError,
    },
    /// A server does not have a file, or does not give it.
    #[error("cannot fetch {url}: invalid response status {status}")]
    WebStatus {
        /// Which, without a password.
        url: String,
        /// What it answered.
        status: u16,
    },
    /// An answer is not what the protocol says.
    #[error("registry {host} answered in an unexpected way: {why}")]
    Protocol {
        /// The registry.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// `registries.conf` forbids this registry.
    #[error("registry {0} is blocked by configuration")]
    Blocked(String),
    /// What was to be pushed could not be read.
    #[error("cannot read blob {digest} to push it")]
    Source {
        /// Which blob.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// Certificates or keys cannot be used.
    #[error("cannot use {what}")]
    Certificate {
        /// The file, or what it was for.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The program that moves the bytes could not be started.
    #[error("cannot start network input and output")]
    Runtime(#[source] io::Error),
    /// Credentials could not be read or written.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A configuration file cannot be used.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// The person asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::ManifestNotFound { .. } | Self::RepositoryNotFound { .. } | Self::BlobNotFound { .. } => {
                ErrorClass::NotFound
            }
            Self::PullDenied { .. } | Self::PushDenied { .. } | Self::LoginRefused { .. } | Self::Blocked(_) => {
                ErrorClass::Denied
            }
            Self::Refused { source, .. } => match source.status {
                401 | 403 => ErrorClass::Denied,
                404 => ErrorClass::NotFound,
                429 | 500.. => ErrorClass::Unavailable,
                _ => ErrorClass::InvalidInput,
            },
            Self::Network { .. } | Self::Web { .. } => ErrorClass::Unavailable,
            Self::WebStatus { status, .. } => match status {
                401 | 403 => ErrorClass::Denied,
                404 | 410 => ErrorClass::NotFound,
                _ => ErrorClass::Unavailable,
            },
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => ErrorClass::Corrupt,
            Self::TooLarge { .. } => ErrorClass::Exhausted,
            Self::Document { .. } | Self::Challenge { .. } | Self::Protocol { .. } => ErrorClass::Unsupported,
            Self::Certificate { .. } => ErrorClass::InvalidInput,
            Self::Source { .. } | Self::Runtime(_) => ErrorClass::Internal,
            Self::Credential(error) => error.class(),
            Self::Conf(error) => error.class(),
            Self::Cancelled => ErrorClass::Cancelled,
        }
    }
}

/// What a registry said when it refused: the first of its errors, or the status alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's code, such as `MANIFEST_UNKNOWN`; empty if it gave none.
    pub code: String,
    /// The code and the message in Docker's words: `manifest unknown: manifest unknown`.
    pub text: String,
}

/// Why bytes could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// The name does not resolve.
    #[error("no such host {0}")]
    NoSuchHost(String),
    /// No answer in time.
    #[error("no answer within {0} seconds")]
    Timeout(u64),
    /// The other side speaks plain HTTP.
    #[error("the server speaks plain HTTP: list it as insecure to allow that")]
    PlainHttp,
    /// The certificate is not acceptable, or the handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection ended too early.
    #[error("the connection was lost")]
    Lost(#[source] io::Error),
    /// Something else.
    #[error("{0}")]
    Other(String),
}
