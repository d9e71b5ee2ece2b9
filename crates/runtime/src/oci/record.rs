//! What is remembered of a container.
//!
//! ```text
//! <root>/<id>/state.json    Record
//! <root>/<id>/config.json   the bundle's, as it was when the container was created
//! <root>/<id>/start.sock    where the created container waits to be started
//! ```

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strata_sys::cgroup::Cgroup;
use strata_sys::packet;
use strata_types::runtime_spec::Config;

use super::systemd::Unit;
use super::{Error, resctrl};
use crate::shim::record;

/// Where a created container waits to be started.
pub(super) const SOCKET: &str = "start.sock";
const STATE: &str = "state.json";
const CONFIG: &str = "config.json";

/// What a container is doing (runtime.md, state).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits to be started.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are kept still.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What is remembered of a container, version 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) oci_version: String,
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: Timestamp,
    pub(super) owner: u32,
    pub(super) annotations: BTreeMap<String, String>,
    /// Its first process, in the numbering of whoever created it.
    pub(super) pid: i32,
    /// When that started, in clock ticks.
    pub(super) pid_started_ticks: u64,
    /// Everything was made.
    pub(super) is_ready: bool,
    /// Its control group, in every hierarchy.
    pub(super) cgroup: String,
    /// Which was made for it: what is in another is not ours to end.
    pub(super) has_own_cgroup: bool,
    /// The unit of systemd that its control group is of.
    #[serde(default)]
    pub(super) unit: Option<Unit>,
    /// Its class of caches and memory bandwidth, if it has one.
    #[serde(default)]
    pub(super) class: resctrl::Class,
}

/// A container's directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
}

impl Place {
    /// That of the container `id`; it may not be there.
    pub(super) fn of(root: &Path, id: &str) -> Result<Self, Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if id.is_empty() || id == "." || id == ".." || !id.chars().all(fits) {
            return Err(Error::Id(id.to_owned()));
        }
        Ok(Self { dir: root.join(id) })
    }

    /// Makes it; fails if it is there.
    pub(super) fn claim(&self) -> Result<OwnedFd, Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        let shown = || self.dir.display().to_string();
        let above = self.dir.parent().unwrap_or(&self.dir);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(above);
        made.map_err(crate::Error::path("make", above.display().to_string()))?;
        match std::fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(Error::Exists),
            made => made.map_err(crate::Error::path("make", shown()))?,
        }
        self.open()
    }

    fn open(&self) -> Result<OwnedFd, Error> {
        let shown = self.dir.display().to_string();
        Ok(strata_sys::process::open_dir(&self.dir).map_err(crate::Error::path("open", shown))?)
    }

    pub(super) fn write(&self, known: &Record) -> Result<(), Error> {
        Ok(record::put(&self.dir.join(STATE), known)?)
    }

    /// Reads what is remembered.
    pub(super) fn read(&self) -> Result<Record, Error> {
        record::read(&self.dir.join(STATE))?.ok_or(Error::Unknown)
    }

    /// Keeps the bundle's configuration.
    pub(super) fn keep_config(&self, bytes: &[u8]) -> Result<(), Error> {
        use strata_sys::durable::{Durability, write_file};
        let path = self.dir.join(CONFIG);
        let failed = |error| crate::Error::path("write", path.display().to_string())(std::io::Error::other(error));
        Ok(write_file(&path, bytes, 0o600, Durability::Ephemeral).map_err(failed)?)
    }

    pub(super) fn config(&self) -> Result<Config, Error> {
        read_config(&self.dir.join(CONFIG)).map(|(config, _)| config)
    }

    /// Listens where the container is started.
    pub(super) fn listen(&self, dir: &OwnedFd) -> Result<OwnedFd, Error> {
        let shown = self.dir.join(SOCKET).display().to_string();
        Ok(packet::listen(dir.as_fd(), SOCKET).map_err(crate::Error::path("listen at", shown))?)
    }

    /// Connects to the container that waits to be started; none if it does not wait.
    pub(super) fn connect(&self) -> Option<OwnedFd> {
        packet::connect(self.open().ok()?.as_fd(), SOCKET).ok()
    }

    /// Removes it; it may not be there.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(crate::Error::path("remove", self.dir.display().to_string())(error).into())
            }
            _ => Ok(()),
        }
    }

    /// What the container is doing.
    pub(super) fn status(&self, known: &Record) -> Status {
        if !known.is_alive() {
            return Status::Stopped;
        }
        if !known.is_ready {
            return Status::Creating;
        }
        if known.cgroup().is_frozen() {
            return Status::Paused;
        }
        if self.connect().is_some() { Status::Created } else { Status::Running }
    }
}

impl Record {
    /// Whether its first process lives.
    pub(super) fn is_alive(&self) -> bool {
        self.pid > 0 && record::started_ticks(self.pid) == Some(self.pid_started_ticks)
    }

    /// Its first process, certainly that one.
    pub(super) fn process(&self) -> Option<OwnedFd> {
        let pidfd = strata_sys::process::open(self.pid).ok()?;
        self.is_alive().then_some(pidfd)
    }

    pub(super) fn cgroup(&self) -> Cgroup {
        Cgroup::open_everywhere(&self.cgroup)
    }
}

/// Reads a `config.json`, and its bytes.
pub(super) fn read_config(path: &Path) -> Result<(Config, Vec<u8>), Error> {
    let shown = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(crate::Error::path("read", shown()))?;
    let config = serde_json::from_slice(&bytes).map_err(|source| Error::Document { path: shown(), source })?;
    Ok((config, bytes))
}

/// The state as it is told (runtime.md, state), and as hooks get it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateDocument {
    /// The version of the specification that the configuration follows.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// What it does.
    pub status: Status,
    /// Its first process; none of a stopped one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Where its bundle is.
    pub bundle: PathBuf,
    /// Where its root is.
    pub rootfs: PathBuf,
    /// When it was created.
    pub created: Timestamp,
    /// What its configuration wants to be remembered.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who created it.
    pub owner: String,
}

impl StateDocument {
    pub(super) fn new(known: &Record, status: Status) -> Self {
        let name = || if known.owner == 0 { "root".to_owned() } else { known.owner.to_string() };
        Self {
            oci_version: known.oci_version.clone(),
            id: known.id.clone(),
            status,
            pid: (status != Status::Stopped && known.pid > 0).then_some(known.pid),
            bundle: known.bundle.clone(),
            rootfs: known.rootfs.clone(),
            created: known.created,
            annotations: known.annotations.clone(),
            owner: name(),
        }
    }

    fn with(&self, status: Status) -> String {
        let pid = Some(rustix::process::getpid().as_raw_nonzero().get());
        serde_json::to_string(&Self { status, pid, ..self.clone() }).unwrap_or_default()
    }

    /// For hooks inside the container while it is made, with this process's number there.
    pub(crate) fn creating(&self) -> String {
        self.with(Status::Creating)
    }

    /// The same while it is started.
    pub(crate) fn created(&self) -> String {
        self.with(Status::Created)
    }
}
