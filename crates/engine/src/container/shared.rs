//! Namespaces of other containers: `--pid container:NAME`, `--ipc container:NAME`.

use strata_types::ContainerId;

use crate::container::{ContainerError, HostConfig};
use crate::{Engine, Result};

/// The containers whose namespaces one shares.
pub(super) struct Shared {
    /// Whose process ids.
    pub(super) pid_of: Option<ContainerId>,
    /// Whose message queues, semaphores and shared memory.
    pub(super) ipc_of: Option<ContainerId>,
}

impl Engine {
    /// Finds the containers whose namespaces one is to share; they have to run.
    pub(super) fn shared(&self, host: &HostConfig) -> Result<Shared> {
        let of = |mode: &str, what| other(mode).map(|name| self.running(name, what)).transpose();
        let shared =
            Shared { pid_of: of(&host.pid_mode, "PID namespace")?, ipc_of: of(&host.ipc_mode, "IPC namespace")? };
        if let Some(id) = &shared.ipc_of {
            self.check_shareable(id.as_str())?;
        }
        Ok(shared)
    }

    /// Finds the containers whose namespaces a new one is to share, and names the one whose message queues these are by its
    /// id, as Docker does.
    pub(super) fn resolve_ipc(&self, host: &mut HostConfig) -> Result<()> {
        if let Some(name) = other(&host.pid_mode) {
            self.container(name)?;
        }
        if let Some(name) = other(&host.ipc_mode) {
            host.ipc_mode = format!("container:{}", self.container(name)?.id());
        }
        Ok(())
    }

    /// Containers are private unless they were made to be shared.
    fn check_shareable(&self, id: &str) -> Result<()> {
        if self.container(id)?.document.host.ipc_mode == "shareable" {
            return Ok(());
        }
        let why = "non-shareable IPC (hint: use IpcMode:shareable for the donor container)";
        Err(ContainerError::invalid(format!("failed to join IPC namespace: container {id}: {why}")))
    }
}

/// The name in `container:NAME`.
fn other(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}
