//! Credentials, and where people keep them.

use std::fmt;
use std::path::PathBuf;

use strata_types::ErrorClass;

/// What a registry may be shown. Debug output has no secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User name and password.
    Password {
        /// The name.
        user: String,
        /// The secret.
        password: String,
    },
    /// A refresh token, as Docker keeps it in `identitytoken`.
    IdentityToken(String),
    /// A token that is shown as it is, as `registrytoken`.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

/// What a login led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// What to keep.
    pub credential: Credential,
    /// What the registry says about it, such as `Login Succeeded`.
    pub status: String,
}

/// The files and programs that hold credentials; read when they are needed.
#[derive(Clone, Debug, Default)]
pub struct CredentialStore {
    docker_config: Option<PathBuf>,
    auth_files: Vec<PathBuf>,
}

/// Why credentials could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is no file to write to.
    #[error("there is no config.json to keep credentials in")]
    NoFile,
}

impl CredentialError {
    /// What kind of trouble it is.
    pub const fn class(&self) -> ErrorClass {
        ErrorClass::Internal
    }
}

impl CredentialStore {
    /// `docker_config` is Docker's `config.json`, which is read and written; `auth_files` are further files of that
    /// form, such as `$XDG_RUNTIME_DIR/containers/auth.json`, which are only read.
    pub const fn new(docker_config: Option<PathBuf>, auth_files: Vec<PathBuf>) -> Self {
        Self { docker_config, auth_files }
    }

    /// Finds the credential for a repository (`host` as in a reference, such as `docker.io`).
    pub fn find(&self, _host: &str, _path: &str) -> Result<Option<Credential>, CredentialError> {
        Ok(None)
    }

    /// Keeps a credential for a registry, in the helper that is configured for it or in `config.json`; says where.
    pub fn save(&self, _host: &str, _credential: &Credential) -> Result<Saved, CredentialError> {
        Err(CredentialError::NoFile)
    }

    /// Forgets the credential for a registry; false if there was none.
    pub fn erase(&self, _host: &str) -> Result<bool, CredentialError> {
        Ok(false)
    }
}

/// Where a credential went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Into a file, readable by its owner.
    File(PathBuf),
    /// To a credential helper, by name.
    Helper(String),
}
