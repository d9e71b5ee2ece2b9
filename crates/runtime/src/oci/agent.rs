//! Whoever decides from outside about system calls of a container (runtime-spec, config-linux.md, seccomp, `listenerPath`).

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde_json::Value;
use strata_sys::packet;

use super::{Error, StateDocument};

/// Where it listens, and what it is told besides.
#[derive(Debug)]
pub(super) struct Agent<'a> {
    path: &'a str,
    metadata: Option<&'a str>,
}

/// What it is told (config-linux.md, the container process state).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    /// The names of the descriptors that come with it.
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a StateDocument,
}

impl<'a> Agent<'a> {
    /// That of `linux.seccomp`, if it names one.
    pub(super) fn of(seccomp: Option<&'a Value>) -> Option<Self> {
        let text = |name: &str| seccomp?.get(name)?.as_str().filter(|text| !text.is_empty());
        Some(Self { path: text("listenerPath")?, metadata: text("listenerMetadata") })
    }

    /// Hands it the descriptor on which it is asked about the process `pid`.
    pub(super) fn tell(&self, listener: &OwnedFd, pid: i32, state: &StateDocument) -> Result<(), Error> {
        let told =
            ProcessState { oci_version: &state.oci_version, fds: ["seccompFd"], pid, metadata: self.metadata, state };
        let bytes = serde_json::to_vec(&told).unwrap_or_default();
        let send = || {
            let mut socket = UnixStream::connect(self.path)?;
            // The descriptor goes with the first piece, and only with that.
            let (first, rest) = bytes.split_at(bytes.len().min(packet::PACKET_BYTES_MAX));
            packet::send(socket.as_fd(), first, &[listener.as_fd()], true)?;
            socket.write_all(rest)
        };
        let failed = crate::Error::path("send the listener of system calls to", self.path);
        Ok(send().map_err(|error: std::io::Error| failed(error))?)
    }
}
