//! `state.json`: what is known about the container, for all who look.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use strata_sys::durable::{self, Durability};
use strata_sys::kernel_file;
use strata_types::{ContainerId, ErrorClass};

use super::{make_socket_dir, socket_dir};
use crate::{Error, Spec, State};

/// The state of a container, in its directory.
pub(crate) const STATE: &str = "state.json";
/// What it was started with, beside its socket.
const SPEC: &str = "spec.json";

/// Puts `state` in place. Not synced: a reboot ends the process it speaks of.
pub(crate) fn write(dir: &Path, state: &State) -> Result<(), Error> {
    put_state(dir, state, Durability::Ephemeral)
}

/// The same, synced: for a container whose policy says what is to happen after a reboot.
pub(crate) fn write_durably(dir: &Path, state: &State) -> Result<(), Error> {
    put_state(dir, state, Durability::Durable)
}

/// Writes over the state that is there if a container has left no room on the disk for another file.
fn put_state(dir: &Path, state: &State, durability: Durability) -> Result<(), Error> {
    let path = dir.join(STATE);
    match put_with(&path, state, durability) {
        Err(error) if error.class() == ErrorClass::Exhausted => {
            let bytes = serde_json::to_vec(state).unwrap_or_default();
            durable::overwrite_file(&path, &bytes, durability).map_err(|_| error)
        }
        written => written,
    }
}

/// Reads the state; none if there is none yet. One that a power failure tore is lost, which is a state too.
pub(crate) fn state(dir: &Path) -> Result<Option<State>, Error> {
    match read(&dir.join(STATE)) {
        Err(Error::Document { .. }) => Ok(Some(State::lost())),
        other => other,
    }
}

/// Where it says what a container is started with: nothing that has to outlive a reboot, or the run.
pub(crate) fn spec_path(run_dir: &Path, id: &ContainerId) -> PathBuf {
    socket_dir(run_dir, id).join(SPEC)
}

/// Reads what a container is started with.
pub(crate) fn spec(path: &Path) -> Result<Spec, Error> {
    read(path)?.ok_or_else(|| Error::path("read", path.display().to_string())(rustix::io::Errno::NOENT))
}

/// Says what the container is started with.
pub(crate) fn put_spec(run_dir: &Path, spec: &Spec) -> Result<(), Error> {
    let path = make_socket_dir(run_dir, &spec.id)?.join(SPEC);
    match std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path) {
        // Nobody reads it before it is whole: the shim is told when.
        Ok(mut file) => {
            let bytes = bytes_of(&path, spec)?;
            file.write_all(&bytes).map_err(Error::path("write", path.display().to_string()))
        }
        Err(_) => put(&path, spec),
    }
}

fn bytes_of(path: &Path, document: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(|source| Error::Document { path: path.display().to_string(), source })
}

/// Which boot of the machine this is.
pub(crate) fn boot_id() -> String {
    let id = kernel_file::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim_end().to_owned()
}

/// Puts a document in place, not synced.
pub(crate) fn put(path: &Path, document: &impl serde::Serialize) -> Result<(), Error> {
    put_with(path, document, Durability::Ephemeral)
}

fn put_with(path: &Path, document: &impl serde::Serialize, durability: Durability) -> Result<(), Error> {
    let bytes = bytes_of(path, document)?;
    durable::write_file(path, &bytes, 0o600, durability).map_err(|error| Error::Path {
        act: "write",
        path: path.display().to_string(),
        source: std::io::Error::new(error.source.kind(), error),
    })
}

/// Reads a document; none if it is not there.
pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let shown = || path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Document { path: shown(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::path("read", shown())(error)),
    }
}

/// When a process started, in clock ticks since boot; none if it has ended.
pub fn started_ticks(pid: i32) -> Option<u64> {
    Stat::of(pid).filter(|stat| !stat.has_ended()).map(|stat| stat.started_ticks)
}

/// What the kernel says of a process (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    /// A letter.
    state: u8,
    /// When it started, in clock ticks since boot.
    pub(crate) started_ticks: u64,
    /// How it ended, as wait(2) says it; 0 while it lives.
    pub(crate) exit_status: i32,
}

impl Stat {
    /// Looks at a process; none if it is gone.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let text = kernel_file::read(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, but nothing behind it holds a parenthesis.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        // Fields 3, 22 and 52.
        let state = fields.next()?.bytes().next()?;
        let started_ticks = fields.nth(18)?.parse().ok()?;
        let exit_status = fields.nth(29)?.parse().ok()?;
        Some(Self { state, started_ticks, exit_status })
    }

    /// Whether it has ended, and only waits for its parent to ask how.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Whether it was stopped, by a signal or by a debugger.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}
