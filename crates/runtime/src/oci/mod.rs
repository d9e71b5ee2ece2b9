//! Containers from bundles: what an OCI runtime does for podman, docker, containerd and whoever calls one
//! (github.com/opencontainers/runtime-spec, runtime.md).
//!
//! Nothing here knows of a store, images or networks, and no process stays but the container's: whoever called becomes the
//! parent of the container's first process, or its subreaper does.

mod agent;
mod create;
mod error;
mod exec;
mod features;
pub(crate) mod hooks;
mod life;
mod look;
mod namespaces;
mod process;
mod record;
mod resctrl;
mod resources;
mod schedule;
mod stay;
mod systemd;
mod validate;

pub use create::{CreateOptions, Created};
pub use error::Error;
pub use exec::{ExecOptions, Executed};
pub use features::features;
pub use look::Listed;
pub(crate) use namespaces::Namespaces;
pub use record::{StateDocument, Status};
pub(crate) use schedule::Schedule;
pub use stay::stay;
pub use systemd::Systemd;

use std::path::{Path, PathBuf};

use strata_sys::seccomp;

/// What `start` says to a container that waits.
pub(crate) const START: &[u8] = b"start";

/// A compiled filter, and how it is put in force.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) program: seccomp::Program,
    pub(crate) flags: seccomp::Flags,
    /// It asks somebody about some calls.
    pub(crate) asks: bool,
}

/// All containers below one directory.
#[derive(Clone, Debug)]
pub struct Runtime {
    root: PathBuf,
    systemd: Systemd,
    /// Control groups are systemd's affair.
    by_systemd: bool,
}

impl Runtime {
    /// Those whose states are below `root`. Touches nothing.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), systemd: Systemd::default(), by_systemd: false }
    }

    /// With systemd there; with `makes_groups` new containers have the control groups that it makes.
    #[must_use]
    pub fn with_systemd(self, systemd: Systemd, makes_groups: bool) -> Self {
        Self { systemd, by_systemd: makes_groups, ..self }
    }
}
