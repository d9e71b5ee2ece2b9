//! The engine: one root directory and what works on it.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use strata_registry::{Client, Proxies};
use strata_runtime::Ahead;
use strata_snapshot::Snapshots;
use strata_store::Store;
use strata_types::config::{CONFIG_BYTES_MAX, ImageConfig};
use strata_types::{ContainerId, ImageId, Platform};

use crate::Result;
use crate::image::ImageError;

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
    /// Further files with credentials in the form of `config.json`, which are only read.
    pub auth_files: Vec<PathBuf>,
    /// `registries.conf`; the system's if none.
    pub registries_conf: Option<PathBuf>,
    /// Proxies on the way to registries.
    pub proxies: Proxies,
}

/// What a person's requests are made to. Opening costs little: each crate beneath is opened when first needed.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    store: Store,
    client: OnceLock<Client>,
    snapshots: OnceLock<Snapshots>,
    expected: Mutex<Option<Expected>>,
}

/// Shims for the containers that are going to be started.
#[derive(Debug)]
struct Expected {
    /// The last one's, which makes the others.
    ahead: Ahead,
    /// How many others there will be.
    more: usize,
}

impl Engine {
    /// Opens the engine; creates the root directory if it is not there.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(settings: Settings) -> Result<Self> {
        let store = Store::open(&settings.root)?;
        let (client, snapshots) = (OnceLock::new(), OnceLock::new());
        Ok(Self { settings, store, client, snapshots, expected: Mutex::default() })
    }

    /// So many containers are going to be started: what a shim needs to begin happens beside what comes before. `ahead` is
    /// one that was begun earlier. That none can be started is told by the start.
    pub fn expect_starts(&self, ahead: Option<Ahead>, count: usize) {
        let Some(more) = count.checked_sub(1) else { return };
        match ahead.map_or_else(Ahead::spawn, Ok) {
            Ok(ahead) => {
                *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(Expected { ahead, more });
            }
            Err(error) => tracing::debug!(%error, "no shim ahead of its container"),
        }
    }

    /// A shim that was started ahead, if there is one.
    pub(crate) fn take_ahead(&self) -> Option<Ahead> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *expected {
            Some(Expected { ahead, more: more @ 1.. }) => {
                *more -= 1;
                ahead.another().inspect_err(|error| tracing::debug!(%error, "no further shim ahead")).ok()
            }
            _ => expected.take().map(|expected| expected.ahead),
        }
    }

    /// The id for a container that is being made: the one its shim expects, or a new one.
    pub(crate) fn new_id(&self) -> ContainerId {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let known = expected.as_mut().and_then(|expected| expected.ahead.take_id());
        known.unwrap_or_else(|| ContainerId::from_random(strata_sys::random::bytes()))
    }

    /// What it was opened with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Blobs and records.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Layered filesystems, opened when first needed.
    ///
    /// # Errors
    /// When no driver works here, or another one than the store's was asked for.
    pub fn snapshots(&self) -> Result<&Snapshots> {
        if let Some(snapshots) = self.snapshots.get() {
            return Ok(snapshots);
        }
        let Settings { root, run_dir, driver, .. } = &self.settings;
        let driver = driver.as_deref().map(str::parse).transpose()?;
        let options = strata_snapshot::Options { root: root.clone(), run_dir: run_dir.clone(), driver };
        let opened = Snapshots::open(options)?;
        Ok(self.snapshots.get_or_init(|| opened))
    }

    /// Reads an image's config.
    ///
    /// # Errors
    /// When it is not there, damaged, or cannot be understood.
    pub fn config(&self, id: &ImageId) -> Result<ImageConfig> {
        let bytes = self.store.blobs().read_small(id.digest(), CONFIG_BYTES_MAX)?;
        ImageConfig::parse(&bytes).map_err(|source| ImageError::Config { id: id.clone(), source }.into())
    }

    /// What images are chosen for when nobody says.
    pub fn platform(&self) -> Platform {
        Platform::native()
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::try_from(strata_sys::clock::now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The registry client, made when first needed.
    pub(crate) fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let settings = crate::registry::settings(&self.settings)?;
        Ok(self.client.get_or_init(|| Client::new(settings)))
    }
}
