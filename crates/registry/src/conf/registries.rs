//! `registries.conf`, version 2, with its drop-ins (containers-registries.conf(5)).

use std::path::PathBuf;

use strata_types::{ErrorClass, Reference};

/// The files that say where references lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfFiles {
    /// `registries.conf`; the first that exists is used, with the `*.conf` of the folder `NAME.d` beside each.
    pub registries: Vec<PathBuf>,
    /// Docker's `daemon.json`.
    pub daemon: Option<PathBuf>,
}

/// Where references lead.
#[derive(Clone, Debug, Default)]
pub struct Registries {}

/// One place to ask for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `HOST[:PORT]`.
    pub host: String,
    /// The repository there.
    pub path: String,
    /// Whether TLS may be missing or unverified.
    pub insecure: bool,
    /// Whether it stands in for the registry that was asked for.
    pub is_mirror: bool,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not parse.
    #[error("cannot understand {path}: {why}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl ConfError {
    /// What kind of trouble it is.
    pub const fn class(&self) -> ErrorClass {
        ErrorClass::InvalidInput
    }
}

impl Registries {
    /// Reads what there is of `files`; files that are not there are passed over.
    pub fn load(_files: &ConfFiles) -> Result<Self, ConfError> {
        Ok(Self {})
    }

    /// What a short name stands for, by the `[aliases]` table.
    pub fn alias(&self, _short: &str) -> Option<&str> {
        None
    }

    /// Where to ask for what `reference` names, best first; `None` if that is forbidden.
    pub fn endpoints(&self, _reference: &Reference) -> Option<Vec<Endpoint>> {
        Some(Vec::new())
    }
}
