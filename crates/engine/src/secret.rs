//! Secrets: values that containers get as files in memory, and that are found nowhere else.
//!
//! ```text
//! ROOT/secrets/                 0700
//!      .lock                    flock'd by who makes or removes one
//!      <name>/record.json       id, labels, when it was made
//!      <name>/value             0600: the bytes
//!      .new-<random>/ …         one being made or removed; garbage when nobody holds the lock
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strata_sys::durable::{self, Durability, FileError};
use strata_sys::failpoint;
use strata_sys::lock::{Lock, Mode};
use strata_types::ErrorClass;

use crate::container::Known;
use crate::{Engine, Result};

/// The largest value: Docker's limit, and far above keys and certificates.
pub const SECRET_BYTES_MAX: usize = 500 * 1024;
/// The longest name, Docker's limit.
const NAME_BYTES_MAX: usize = 64;

const VALUE: &str = "value";
const RECORD: &str = "record.json";

/// What is known about a secret besides its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// 25 characters at random, in Docker's alphabet.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
}

/// Why an operation on secrets failed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The name is none for a secret.
    #[error(
        "invalid secret name {0:?}: 1 to 64 letters, digits and `-_.` that begin and end with a letter or digit are allowed"
    )]
    Name(String),
    /// There is one of this name.
    #[error("secret {0} already exists")]
    Exists(String),
    /// There is none.
    #[error("secret {0} not found")]
    NotFound(String),
    /// The value is empty or too large.
    #[error("secret data must be larger than 0 and less than {SECRET_BYTES_MAX} bytes")]
    Size,
    /// Containers refer to it.
    #[error("secret {name} is in use by {}", users.join(", "))]
    InUse {
        /// Which.
        name: String,
        /// The containers' names.
        users: Vec<String>,
    },
    /// Its record is not what we wrote.
    #[error("cannot read the record of secret {0}")]
    Record(String, #[source] serde_json::Error),
}

impl SecretError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Name(_) | Self::Size => ErrorClass::InvalidInput,
            Self::Exists(_) | Self::InUse { .. } => ErrorClass::Conflict,
            Self::NotFound(_) => ErrorClass::NotFound,
            Self::Record(..) => ErrorClass::Corrupt,
        }
    }
}

impl Engine {
    /// Keeps a value under a name.
    ///
    /// # Errors
    /// When the name is none for a secret or taken, or the value is empty or too large.
    pub fn create_secret(&self, name: &str, value: &[u8], labels: BTreeMap<String, String>) -> Result<Secret> {
        check_name(name)?;
        if value.is_empty() || value.len() >= SECRET_BYTES_MAX {
            return Err(SecretError::Size.into());
        }
        let _changing = self.lock_secrets()?;
        let dir = self.secrets_dir().join(name);
        if dir.exists() {
            return Err(SecretError::Exists(name.to_owned()).into());
        }
        let secret = Secret { id: id(), name: name.to_owned(), labels, created: self.now() };
        let new = self.secrets_dir().join(format!(".new-{}", strata_sys::random::hex::<8>()));
        durable::create_dirs(&new, 0o700)?;
        durable::write_file(&new.join(VALUE), value, 0o600, Durability::Durable)?;
        let record = serde_json::to_vec(&secret).map_err(|source| SecretError::Record(name.to_owned(), source))?;
        durable::write_file(&new.join(RECORD), &record, 0o600, Durability::Durable)?;
        failpoint!("engine.secret.written");
        durable::rename(&new, &dir)?;
        failpoint!("engine.secret.placed");
        Ok(secret)
    }

    /// All secrets, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn secrets(&self) -> Result<Vec<Secret>> {
        let dir = self.secrets_dir();
        let list = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            list => list.map_err(FileError::at("list", &dir))?,
        };
        let mut secrets = Vec::new();
        for entry in list {
            let name = entry.map_err(FileError::at("list", &dir))?.file_name();
            if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
                // One that was removed meanwhile is not there.
                secrets.extend(self.secret_named(name)?);
            }
        }
        secrets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(secrets)
    }

    /// The secret of this name, or whose id begins so.
    ///
    /// # Errors
    /// When there is none.
    pub fn secret(&self, name: &str) -> Result<Secret> {
        if check_name(name).is_ok()
            && let Some(secret) = self.secret_named(name)?
        {
            return Ok(secret);
        }
        let mut found = self.secrets()?.into_iter().filter(|secret| !name.is_empty() && secret.id.starts_with(name));
        match (found.next(), found.next()) {
            (Some(secret), None) => Ok(secret),
            _ => Err(SecretError::NotFound(name.to_owned()).into()),
        }
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// When there is none, or containers refer to it.
    pub fn remove_secret(&self, name: &str) -> Result<()> {
        // First the lock: with it goes what is left of one whose removal was killed.
        let _changing = self.lock_secrets()?;
        let secret = self.secret(name)?;
        let mut users = Vec::new();
        for record in self.store().containers().list()? {
            let known = Known::read(record)?;
            if known.document.secrets.iter().any(|mount| mount.name == secret.name) {
                users.push(known.record.name);
            }
        }
        if !users.is_empty() {
            return Err(SecretError::InUse { name: secret.name, users }.into());
        }
        // First out of sight, in one step.
        let old = self.secrets_dir().join(format!(".old-{}", strata_sys::random::hex::<8>()));
        durable::rename(&self.secrets_dir().join(&secret.name), &old)?;
        failpoint!("engine.secret-rm.taken-away");
        durable::remove(&old)?;
        // Nor does a power failure bring its value back.
        durable::sync_dir(&self.secrets_dir())?;
        failpoint!("engine.secret-rm.removed");
        Ok(())
    }

    /// Where a secret's value is, which must be there.
    pub(crate) fn secret_value(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        let path = self.secrets_dir().join(name).join(VALUE);
        if path.is_file() { Ok(path) } else { Err(SecretError::NotFound(name.to_owned()).into()) }
    }

    fn secret_named(&self, name: &str) -> Result<Option<Secret>> {
        let path = self.secrets_dir().join(name).join(RECORD);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::at("read", &path)(error).into()),
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes);
                Ok(Some(read.map_err(|source| SecretError::Record(name.to_owned(), source))?))
            }
        }
    }

    fn secrets_dir(&self) -> PathBuf {
        self.settings().root.join("secrets")
    }

    /// Waits until nobody else makes or removes secrets, and clears away what those who died left behind.
    fn lock_secrets(&self) -> Result<Lock> {
        let dir = self.secrets_dir();
        durable::create_dirs(&dir, 0o700)?;
        let path = dir.join(".lock");
        let lock = Lock::wait(&path, Mode::Exclusive).map_err(FileError::at("lock", &path))?;
        for entry in std::fs::read_dir(&dir).map_err(FileError::at("list", &dir))? {
            let name = entry.map_err(FileError::at("list", &dir))?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(".new-") || name.starts_with(".old-") {
                durable::remove(&dir.join(Path::new(&*name)))?;
            }
        }
        Ok(lock)
    }
}

fn id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    strata_sys::random::bytes::<25>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

fn check_name(name: &str) -> Result<()> {
    let ends = [name.bytes().next(), name.bytes().last()];
    let at_ends = ends.iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric()));
    let inside = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if at_ends && inside && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(SecretError::Name(name.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        for name in ["a", "db.password", "A-1_2.x"] {
            check_name(name).unwrap();
        }
        for name in ["", ".a", "a-", "a/b", "../x", "a b", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
