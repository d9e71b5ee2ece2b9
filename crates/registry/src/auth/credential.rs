//! Credentials, and where people keep them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use strata_sys::durable::FileError;
use strata_types::ErrorClass;

use super::config_file::{self, ConfigFile};
use super::credential_program::Helper;

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
    IdentityToken {
        /// The name it was given to; may be empty.
        user: String,
        /// The secret.
        token: String,
    },
    /// A token that is shown as it is, as `registrytoken`.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => f.debug_struct("Password").field("user", user).finish_non_exhaustive(),
            Self::IdentityToken { user, .. } => {
                f.debug_struct("IdentityToken").field("user", user).finish_non_exhaustive()
            }
            Self::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

/// What a login led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// What to keep: an identity token, if the registry gave one for the password.
    pub credential: Credential,
}

/// The files and programs that hold credentials; read when they are needed.
#[derive(Clone, Debug, Default)]
pub struct CredentialStore {
    docker_config: Option<PathBuf>,
    auth_files: Vec<PathBuf>,
}

/// Where a credential went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Into a file, readable by its owner.
    File(PathBuf),
    /// To a credential helper, by name.
    Helper(String),
}

/// Why credentials could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is no file to write to.
    #[error("there is no config.json to keep credentials in")]
    NoFile,
    /// A file cannot be read.
    #[error("cannot read credentials from {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be. The reason is left out on purpose: it could quote a secret.
    #[error("cannot understand the credentials in {}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot keep credentials")]
    Write(#[from] FileError),
    /// A credential helper cannot be run.
    #[error("cannot run docker-credential-{name}")]
    HelperStart {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A credential helper failed.
    #[error("docker-credential-{name} failed: {why}")]
    HelperFailed {
        /// Its name.
        name: String,
        /// The first line of what it said.
        why: String,
    },
}

impl CredentialError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoFile | Self::Read { .. } | Self::Parse { .. } | Self::HelperStart { .. } => {
                ErrorClass::InvalidInput
            }
            Self::Write(error) => error.class(),
            Self::HelperFailed { .. } => ErrorClass::Internal,
        }
    }
}

impl CredentialStore {
    /// `docker_config` is Docker's `config.json`, which is read and written; `auth_files` are further files of that
    /// form, such as `$XDG_RUNTIME_DIR/containers/auth.json`, which are only read.
    pub const fn new(docker_config: Option<PathBuf>, auth_files: Vec<PathBuf>) -> Self {
        Self { docker_config, auth_files }
    }

    /// Finds the credential for a repository (`host` as in a reference, such as `docker.io`): in the helper that is
    /// configured for the host, in the store that is configured for all, then in the file; file by file.
    pub fn find(&self, host: &str, path: &str) -> Result<Option<Credential>, CredentialError> {
        for file in self.docker_config.iter().chain(&self.auth_files) {
            let Some(file) = ConfigFile::read(file)? else { continue };
            if let Some(name) = file.helper(host)
                && let Some(found) = Helper::new(name)?.find(config_file::server_of(host))?
            {
                return Ok(Some(found));
            }
            if let Some(found) = file.find(host, path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps a credential for a registry, in the helper that is configured for it or in `config.json`; says where.
    pub fn save(&self, host: &str, credential: &Credential) -> Result<Saved, CredentialError> {
        let path = self.docker_config.as_ref().ok_or(CredentialError::NoFile)?;
        let mut file = ConfigFile::read(path)?.unwrap_or_else(|| ConfigFile::empty(path));
        let server = config_file::server_of(host);
        if let Some(name) = file.helper(host).map(str::to_owned) {
            Helper::new(&name)?.save(server, credential)?;
            return Ok(Saved::Helper(name));
        }
        file.set(server, credential);
        file.write()?;
        Ok(Saved::File(path.clone()))
    }

    /// Forgets the credential for a registry; false if there was none.
    pub fn erase(&self, host: &str) -> Result<bool, CredentialError> {
        let Some(path) = &self.docker_config else { return Ok(false) };
        let Some(mut file) = ConfigFile::read(path)? else { return Ok(false) };
        let mut erased = false;
        if let Some(name) = file.helper(host) {
            let (helper, server) = (Helper::new(name)?, config_file::server_of(host));
            if helper.find(server)?.is_some() {
                helper.erase(server)?;
                erased = true;
            }
        }
        if file.remove(host) {
            file.write()?;
            erased = true;
        }
        Ok(erased)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str) -> Credential {
        Credential::Password { user: user.to_owned(), password: "s3cret:x".to_owned() }
    }

    #[test]
    fn what_is_kept_is_found_and_nothing_else_is_lost() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.json");
        let store = CredentialStore::new(Some(path.clone()), Vec::new());
        assert_eq!(store.find("docker.io", "library/debian").unwrap(), None);
        store.save("docker.io", &password("hub")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("https://index.docker.io/v1/"), "{text}");
        std::fs::write(&path, text.replacen('{', r#"{"psFormat": "x","#, 1)).unwrap();
        let token = Credential::IdentityToken { user: "me".to_owned(), token: "t0ken".to_owned() };
        store.save("localhost:5000", &token).unwrap();
        assert_eq!(store.find("docker.io", "library/debian").unwrap(), Some(password("hub")));
        assert_eq!(store.find("localhost:5000", "x").unwrap(), Some(token));
        assert_eq!(store.find("localhost", "x").unwrap(), None);
        assert!(store.erase("localhost:5000").unwrap());
        assert!(!store.erase("localhost:5000").unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("psFormat") && text.contains("index.docker.io") && !text.contains("localhost"), "{text}");
    }

    #[test]
    fn the_most_specific_entry_of_an_auth_file_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        // "a:s3cret:x" and "b:s3cret:x"
        let text =
            r#"{"auths":{"quay.io":{"auth":"YTpzM2NyZXQ6eA=="},"quay.io/team/app":{"auth":"YjpzM2NyZXQ6eA=="}}}"#;
        std::fs::write(&path, text).unwrap();
        let store = CredentialStore::new(None, vec![path]);
        assert_eq!(store.find("quay.io", "team/app").unwrap(), Some(password("b")));
        assert_eq!(store.find("quay.io", "team/apple").unwrap(), Some(password("a")));
        assert_eq!(store.find("quay.io.evil", "team/app").unwrap(), None);
        assert!(matches!(store.save("x", &password("a")), Err(CredentialError::NoFile)));
    }

    #[test]
    fn secrets_are_not_in_debug_output_or_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, r#"{"auths":{"x":{"auth":"s3cret"}}}"#).unwrap();
        let error = CredentialStore::new(Some(path), Vec::new()).find("x", "y").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("s3cret"));
        assert!(!format!("{:?}", password("me")).contains("s3cret"));
    }
}
