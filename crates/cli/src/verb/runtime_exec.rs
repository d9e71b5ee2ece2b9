//! `strata runtime exec`: execute another program in a container.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use strata_runtime::oci::{self, ExecOptions};
use strata_types::runtime_spec::Process;

use super::runtime;
use super::runtime_create::{connect, descriptors};
use crate::verb::prelude::*;

/// What `strata runtime exec` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Path to a socket which will receive the process's terminal
    #[arg(long, value_name = "path")]
    pub console_socket: Option<PathBuf>,
    /// Current working directory in the container
    #[arg(long)]
    pub cwd: Option<String>,
    /// Set environment variables
    #[arg(short = 'e', long)]
    pub env: Vec<String>,
    /// Allocate a pseudo-TTY
    #[arg(short = 't', long)]
    pub tty: bool,
    /// User and group
    #[arg(short = 'u', long, help = "User and group (format: \"<uid>[:<gid>]\")")]
    pub user: Option<String>,
    /// Additional gids
    #[arg(short = 'g', long)]
    pub additional_gids: Vec<u32>,
    /// Path to the process.json
    #[arg(short = 'p', long, value_name = "path")]
    pub process: Option<PathBuf>,
    /// Detach from the process
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// File to write the process id to
    #[arg(long, value_name = "path")]
    pub pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long)]
    pub process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long)]
    pub apparmor: Option<String>,
    /// Programs gain no privileges by being executed
    #[arg(long)]
    pub no_new_privs: bool,
    /// Add a capability to the bounding set of the process
    #[arg(short = 'c', long)]
    pub cap: Vec<String>,
    /// Pass so many additional file descriptors to the process
    #[arg(long, value_name = "number", default_value = "0")]
    pub preserve_fds: u32,
    /// Run the process in this control group below the container's
    #[arg(long)]
    pub cgroup: Option<String>,
    /// Allow exec in a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// The container's id
    pub id: String,
    /// The command and its arguments
    pub command: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Execute another program in a running container";
    const USAGE: &str = "[OPTIONS] ID COMMAND [ARG...]";
    const OPTIONS_END_AT_NAME: bool = true;
    const FAILURE_CODE: u8 = 255;

    fn run(self, session: &mut Session) -> Result<Exit> {
        runtime::seal()?;
        let runtime = runtime::open(session)?;
        let process = self.wanted(&runtime)?;
        let console = connect(self.console_socket.as_deref())?;
        if self.detach && process.terminal && console.is_none() {
            let why = "cannot allocate tty if runc will detach without setting console socket";
            return Err(Failure::new(why));
        }
        let options = ExecOptions {
            console: console.as_ref().map(std::os::fd::AsFd::as_fd),
            pid_file: self.pid_file.as_ref().map(std::path::absolute).transpose()?,
            descriptors: descriptors(self.preserve_fds, session)?,
            ignore_paused: self.ignore_paused,
            cgroup: self.cgroup.clone(),
        };
        let executed = runtime.exec(&self.id, &process, &options)?;
        for warning in &executed.warnings {
            runtime::warn(warning, session);
        }
        if self.detach {
            return Ok(Exit::SUCCESS);
        }
        Ok(Exit::with(oci::stay(executed.pidfd.as_fd(), executed.terminal)? as u8))
    }
}

impl Args {
    /// The process: that of a file, or the container's own with other words.
    fn wanted(&self, runtime: &oci::Runtime) -> Result<Process> {
        if let Some(path) = &self.process {
            return Ok(serde_json::from_slice(&std::fs::read(path)?)?);
        }
        if self.command.is_empty() {
            return Err(Failure::new("exec args cannot be empty"));
        }
        let mut process = runtime.process(&self.id)?;
        process.args.clone_from(&self.command);
        process.terminal = self.tty;
        process.console_size = None;
        process.env.extend(self.env.iter().cloned());
        if let Some(cwd) = &self.cwd {
            process.cwd.clone_from(cwd);
        }
        if let Some(user) = &self.user {
            let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
            let number = |text: &str| {
                text.parse::<u32>().map_err(|_| Failure::new(format!("parsing {text} as int for user failed")))
            };
            process.user.uid = number(uid)?;
            if let Some(gid) = gid {
                process.user.gid = number(gid)?;
            }
        }
        process.user.additional_gids.extend(&self.additional_gids);
        process.no_new_privileges |= self.no_new_privs;
        if let Some(profile) = &self.apparmor {
            process.apparmor_profile.clone_from(profile);
        }
        if let Some(label) = &self.process_label {
            process.selinux_label.clone_from(label);
        }
        let sets = process.capabilities.get_or_insert_default();
        for name in &self.cap {
            for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
                set.push(name.clone());
            }
        }
        Ok(process)
    }
}
