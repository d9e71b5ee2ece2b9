//! The engine: one root directory and what works on it.

use std::path::PathBuf;

use crate::Result;

/// Where an engine keeps things and how it meets the world. The command line fills it from flags and environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The root directory: records, blobs, layers, containers.
    pub root: PathBuf,
    /// Holds what need not survive a reboot: sockets, the pinned mount namespace.
    pub run_dir: PathBuf,
    /// The storage driver's name; the best one that works here if none.
    pub driver: Option<String>,
    /// Docker's `config.json`, which holds credentials; nothing is read or written if none.
    pub docker_config: Option<PathBuf>,
    /// `registries.conf`; the system's if none.
    pub registries_conf: Option<PathBuf>,
}

/// What a person's requests are made to. Opening costs little: each crate beneath is opened when first needed.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
}

impl Engine {
    /// Opens the engine; creates the root directory if it is not there.
    pub fn open(settings: Settings) -> Result<Self> {
        Ok(Self { settings })
    }

    /// What it was opened with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }
}
