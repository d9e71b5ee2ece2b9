//! Further processes in a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use strata_sys::cgroup::{Cgroup, Layout};
use strata_sys::process::{self as processes, NamespaceSet};
use strata_sys::{packet, process::Child};
use strata_types::runtime_spec::{Config, Process};

use super::create::{go_on, send_terminal, set_oom_score, write_pid};
use super::record::{Record, StateDocument, Status};
use super::{Error, Namespaces, Runtime, Schedule, life, process};
use crate::inside::{ENTER, bundle, message};
use crate::seccomp;

/// What `exec` is told besides the process.
#[derive(Debug)]
pub struct ExecOptions<'a> {
    /// Where the terminal goes; without, whoever called keeps it.
    pub console: Option<BorrowedFd<'a>>,
    /// Gets the number of the process.
    pub pid_file: Option<PathBuf>,
    /// So many descriptors from 3 on are the program's.
    pub descriptors: u32,
    /// A paused container is joined, too.
    pub ignore_paused: bool,
    /// Below the container's control group.
    pub cgroup: Option<String>,
}

/// A process that executes its program by now.
#[derive(Debug)]
pub struct Executed {
    /// Its number.
    pub pid: i32,
    /// The same, for waiting.
    pub pidfd: OwnedFd,
    /// Its terminal, if it has one that went nowhere.
    pub terminal: Option<OwnedFd>,
    /// What could not be done as asked and was left out.
    pub warnings: Vec<String>,
}

impl Runtime {
    /// What the container's first process was configured to be: where further ones begin.
    pub fn process(&self, id: &str) -> Result<Process, Error> {
        let (place, _) = self.known(id)?;
        Ok(place.config()?.process.unwrap_or_default())
    }

    /// Starts another process in a container.
    pub fn exec(&self, id: &str, wanted: &Process, options: &ExecOptions<'_>) -> Result<Executed, Error> {
        let (place, known) = self.known(id)?;
        match place.status(&known) {
            Status::Paused if !options.ignore_paused => return Err(Error::Paused),
            Status::Stopped => return Err(Error::NotRunning),
            _ => {}
        }
        let config = place.config()?;
        let process = process::process(wanted)?;
        let schedule = Schedule::of(wanted)?;
        let filter = config.linux.seccomp.as_ref().map(seccomp::of_bundle).transpose()?.flatten();
        let namespaces = Namespaces::of_process(known.pid)?;
        if !known.is_alive() {
            // The number might have been another's meanwhile.
            return Err(Error::NotRunning);
        }
        let groups = groups(&known.cgroup, options.cgroup.as_deref())?;
        let entrances = groups.iter().map(Cgroup::entrance).collect::<std::io::Result<_>>();
        let entrances = entrances.map_err(crate::Error::io(ENTER))?;
        let (ours, theirs) = packet::pair().map_err(crate::Error::step("make a pair of sockets"))?;
        let joining = bundle::Joining {
            process: &process,
            namespaces: &namespaces,
            entrances,
            filter,
            schedule: &schedule,
            descriptors: options.descriptors,
            new_keyring: true,
        };
        namespaces.join_pids()?;
        let child = processes::clone(NamespaceSet::default(), None, || bundle::join(joining, theirs))
            .map_err(crate::Error::step("make a process"))?;
        let mut warnings = Vec::new();
        let seen = see_through(&config, wanted, (&groups, &known), &child, &ours, options, &mut warnings);
        match seen {
            Ok(terminal) => Ok(Executed { pid: child.pid, pidfd: child.pidfd, terminal, warnings }),
            Err(error) => {
                child.end();
                Err(error)
            }
        }
    }
}

/// The control group of the container, and one below it where that is.
fn groups(of_container: &str, below: Option<&str>) -> Result<Vec<Cgroup>, Error> {
    let mut groups = vec![Cgroup::open_everywhere(of_container)];
    if let Some(below) = below.map(|below| below.trim_matches('/')).filter(|below| !below.is_empty()) {
        let group = Cgroup::open_everywhere(&format!("{of_container}/{below}"));
        if below.split('/').any(|part| part == "..") || !group.exists() {
            return Err(Error::Config(format!("there is no control group {below:?} below the container's")));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Sees the new process through until it executes its program.
fn see_through(
    config: &Config,
    wanted: &Process,
    (groups, known): (&[Cgroup], &Record),
    child: &Child,
    channel: &OwnedFd,
    options: &ExecOptions<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<OwnedFd>, Error> {
    let of_container = config.process.as_ref().and_then(|process| process.oom_score_adj);
    if let Some(adjustment) = wanted.oom_score_adj.or(of_container) {
        set_oom_score(child.pid, adjustment)?;
    }
    groups.iter().try_for_each(|group| join(group, child.pid, known.pid))?;
    known.class.join(child.pid)?;
    go_on(channel)?;
    let mut terminal = None;
    loop {
        let packet = packet::receive(channel.as_fd()).map_err(crate::Error::step("hear from the new process"))?;
        let Some(packet) = packet else { break };
        let (kind, text) = packet.bytes.split_first().unwrap_or((&0, &[]));
        match *kind {
            message::WARNING => warnings.push(String::from_utf8_lossy(text).into_owned()),
            message::TERMINAL => terminal = packet.fds.into_iter().next(),
            message::LISTENER => {
                life::listen(config, &packet, &StateDocument::new(known, Status::Running), child.pid)?;
                go_on(channel)?;
            }
            kind => return Err(Error::Exec(message::error(kind, text))),
        }
    }
    if let (Some(console), Some(master)) = (options.console, &terminal) {
        send_terminal(console, master)?;
        terminal = None;
    }
    if let Some(path) = &options.pid_file {
        write_pid(path, child.pid)?;
    }
    Ok(terminal)
}

/// Puts the process into the group, unless it goes there by itself; where that has groups of its own below (version 2), to
/// the container's first process.
fn join(group: &Cgroup, pid: i32, first: i32) -> Result<(), Error> {
    if group.layout() == Layout::V1 {
        return Ok(());
    }
    let joined = match group.join(pid) {
        Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
            let path = group_of(first).ok_or_else(|| crate::Error::io("find the container's control group")(error))?;
            Cgroup::open_everywhere(&path).join(pid)
        }
        joined => joined,
    };
    Ok(joined.map_err(crate::Error::io(ENTER))?)
}

/// Where a process is in version 2.
fn group_of(pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}
