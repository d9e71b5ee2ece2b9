//! Running another program in a container.

use strata_runtime::spec::{Capabilities, NamedUser, Stdin, TerminalSize};
use strata_runtime::{Attach, ExecSpec, Started, Status};
use strata_sys::caps::CapSet;

use crate::container::{ContainerError, Known, merge};
use crate::{Engine, Result, events};

/// What to run in a container.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Variables to set, `NAME=VALUE`, or to unset, `NAME`.
    pub env: Vec<String>,
    /// It gets a terminal.
    pub tty: bool,
    /// It reads the caller's input.
    pub interactive: bool,
    /// As whom; the container's user without.
    pub user: Option<String>,
    /// Where; the container's working directory without.
    pub workdir: Option<String>,
    /// With all capabilities.
    pub privileged: bool,
    /// The size of its terminal.
    pub size: Option<TerminalSize>,
}

impl Engine {
    /// Starts a program in a running container.
    ///
    /// # Errors
    /// When the container does not run, or the program cannot be executed.
    pub fn exec(&self, known: &Known, request: ExecRequest, attach: Option<Attach<'_>>) -> Result<Started> {
        let running = self.process(known.id());
        match running.state()?.status {
            Status::Running => {}
            Status::Paused => {
                let sentence = format!("container {} is paused, unpause the container before exec", known.record.name);
                return Err(ContainerError::NotRunning(sentence).into());
            }
            Status::Restarting => return Err(ContainerError::restarting(known.id()).into()),
            _ => return Err(ContainerError::NotRunning(format!("container {} is not running", known.id())).into()),
        }
        let mut process = running.spec()?.process;
        let config = &known.document.config;
        let mut env = merge::environment(&config.hostname, request.tty, &config.run.env);
        merge::set(&mut env, &request.env);
        process.args = request.args;
        process.env = env;
        if let Some(workdir) = request.workdir {
            if !workdir.starts_with('/') {
                return Err(ContainerError::invalid("Cwd must be an absolute path"));
            }
            process.cwd = workdir;
        }
        process.named_user = Some(NamedUser {
            user: request.user.unwrap_or_else(|| config.run.user.clone()),
            groups: known.document.host.group_add.clone().unwrap_or_default(),
        });
        process.tty = request.tty;
        process.stdin = if request.interactive { Stdin::Once } else { Stdin::Empty };
        process.terminal_size = request.size;
        if request.privileged {
            process.capabilities = Capabilities::docker(CapSet::ALL);
            process.seccomp = strata_runtime::spec::Seccomp::Unconfined;
        }
        let words = process.args.join(" ");
        let id = strata_sys::random::hex::<32>();
        let acts = ["exec_create", "exec_start"].map(|act| format!("{act}: {words}"));
        self.record_events(acts.map(|act| events::of(known, &act).with("execID", &id)));
        Ok(running.exec(&ExecSpec { id, process }, attach)?)
    }
}
