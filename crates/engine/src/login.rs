//! Credentials for registries.

use strata_registry::auth::{Credential, Saved};

use crate::{Engine, Result};

/// What a login led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The file the credential is in, not encrypted; none if a helper keeps it.
    pub file: Option<std::path::PathBuf>,
}

impl Engine {
    /// Tries a user name and a password at a registry and keeps them if they are right.
    ///
    /// # Errors
    /// When the registry refuses them or does not answer, or they cannot be kept.
    pub fn login(&self, host: &str, user: &str, password: &str) -> Result<Login> {
        let credential = Credential::Password { user: user.to_owned(), password: password.to_owned() };
        let client = self.client()?;
        let tried = client.login(host, &credential)?;
        let file = match client.settings().credentials.save(host, &tried.credential)? {
            Saved::File(path) => Some(path),
            Saved::Helper(_) => None,
        };
        Ok(Login { file })
    }

    /// Forgets the credential for a registry; false if there was none.
    ///
    /// # Errors
    /// When the file or the helper that keeps it refuses.
    pub fn logout(&self, host: &str) -> Result<bool> {
        Ok(self.client()?.settings().credentials.erase(host)?)
    }

    /// The user name that is kept for a registry, if any.
    ///
    /// # Errors
    /// When the file or the helper that keeps it cannot be read.
    pub fn known_user(&self, host: &str) -> Result<Option<String>> {
        Ok(match self.client()?.settings().credentials.find(host, "")? {
            Some(Credential::Password { user, .. }) => Some(user),
            _ => None,
        })
    }
}
