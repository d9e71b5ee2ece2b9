//! The first process of a bundle's container, between its creation and the execution of its program: as `config.json` has
//! it, not as ours do.
//!
//! ```text
//! runtime (create)                      this process
//!   clone                         ──▶   joins namespaces
//!   ids, "go"                     ──▶   in its control groups; mounts everything
//!   prestart, createRuntime       ◀──   HOOKS
//!   "go"                          ──▶   createContainer; pivots, hides, takes privileges away
//!   writes the state, ends        ◀──   READY (the terminal before)
//! runtime (start)
//!   connects, "start"             ──▶   startContainer; seccomp; executes the program
//!   poststart                     ◀──   the conversation ends
//! ```

mod copy_up;
mod devices;
mod join;
pub(crate) mod mounts;
mod privileges;

pub(crate) use join::{Joining, join};

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use strata_sys::cgroup::Entrance;
use strata_sys::process::NamespaceSet;
use strata_sys::{detached, packet, process};
use strata_types::runtime_spec::Config;

use super::standing::Standing;
use super::{Channel, label, masks, message, place, program, standing};
use crate::spec::Process;
use crate::{Error, oci};

/// What the first process of a bundle's container needs.
pub(crate) struct First<'a> {
    pub(crate) config: &'a Config,
    /// What it becomes; none if there is nothing to execute.
    pub(crate) process: Option<&'a Process>,
    pub(crate) bundle: &'a Path,
    /// The root filesystem as a mount that is nowhere yet.
    pub(crate) rootfs: OwnedFd,
    /// Binds that were opened already, in the order of `config.mounts`.
    pub(crate) sources: Vec<Option<OwnedFd>>,
    pub(crate) namespaces: &'a oci::Namespaces,
    /// Directories of the container's control groups, by controller.
    pub(crate) cgroups: Vec<(&'static str, PathBuf)>,
    /// The way into them, if it goes there by itself.
    pub(crate) entrance: Entrance,
    /// Where `start` connects.
    pub(crate) listener: OwnedFd,
    pub(crate) filter: Option<oci::Filter>,
    pub(crate) schedule: &'a oci::Schedule,
    pub(crate) pivot: bool,
    pub(crate) new_keyring: bool,
    /// So many descriptors from 3 on are the program's.
    pub(crate) descriptors: u32,
    /// The state as hooks get it, without its pid.
    pub(crate) state: &'a oci::StateDocument,
}

/// What is left to do when the container is started.
struct Waiting {
    /// The program's name and path, and its environment.
    program: Option<(String, String, Vec<String>)>,
    privileges: privileges::Rest,
}

/// Becomes the container's first process. Returns only if that fails, with the exit code.
pub(crate) fn first(first: First<'_>, channel: OwnedFd) -> u8 {
    let channel = Channel(RefCell::new(Some(channel)));
    let (config, process, state) = (first.config, first.process, first.state);
    let listener = first.listener.try_clone().map_err(Error::io("keep the place where it is started"));
    let ready = listener.and_then(|listener| Ok((listener, prepare(first, &channel)?)));
    let (listener, waiting) = match ready {
        Ok(ready) => ready,
        Err(error) => return super::report(Err(error), &channel),
    };
    let started = match wait_for_start(&listener) {
        Ok(started) => started,
        Err(error) => return error.exit_code(),
    };
    let channel = Channel(RefCell::new(Some(started)));
    channel.say(message::READY, "", &[]);
    super::report(start(config, process, state, waiting, &channel), &channel)
}

fn prepare(mut first: First<'_>, channel: &Channel) -> Result<Waiting, Error> {
    super::confine::die_with_parent()?;
    std::mem::take(&mut first.entrance).pass().map_err(Error::io(super::ENTER))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let label = first.process.map_or(Ok(None), label::open)?;
    process::lead_session().map_err(Error::step("start a session"))?;
    first.namespaces.join_inside()?;
    channel.wait()?;
    first.namespaces.become_somebody()?;
    first.schedule.set()?;
    let own = first.namespaces.own();
    if own.has(NamespaceSet::CGROUP) {
        process::unshare(NamespaceSet::CGROUP).map_err(Error::step("have control groups to ourselves"))?;
    }
    first.namespaces.set_clocks(&first.config.linux.time_offsets)?;
    let (config, process, descriptors) = (first.config, first.process, first.descriptors);
    let (new_keyring, filter) = (first.new_keyring, first.filter.clone());
    let terminal = furnish(first, channel)?;
    let home = match process {
        Some(process) => {
            super::confine::working_directory(process, false)?;
            set_terminal(terminal)?;
            Some(program::home_of(process.user.uid)?)
        }
        None => None,
    };
    if let Some(personality) = &config.linux.personality {
        // include/uapi/linux/personality.h
        let persona = if personality.domain == "LINUX32" { 8 } else { 0 };
        process::set_personality(persona).map_err(Error::step("set the personality"))?;
    }
    let how = privileges::How { descriptors, new_keyring, filter };
    let privileges = privileges::take_away(process, how, label, channel)?;
    let program = process.map(|process| program::find(process, home)).transpose()?;
    rustix::process::set_parent_process_death_signal(None).map_err(Error::step("outlive the runtime"))?;
    channel.say(message::READY, "", &[]);
    channel.close();
    Ok(Waiting { program, privileges })
}

/// Mounts everything and makes it the root. Gives the terminal's side of the program, if it has one.
fn furnish(mut first: First<'_>, channel: &Channel) -> Result<Option<OwnedFd>, Error> {
    let sources = std::mem::take(&mut first.sources);
    let First { config, rootfs, namespaces, .. } = &first;
    let inherits_mounts = !namespaces.own_or_joined().has(NamespaceSet::MOUNT);
    // What is mounted in it is nobody else's, and a root that passes mounts on cannot be pivoted to.
    detached::propagate(rootfs.as_fd(), detached::Propagation::Slave, true)
        .map_err(Error::step("keep the root filesystem to ourselves"))?;
    if !inherits_mounts {
        match config.linux.rootfs_propagation.as_str() {
            "private" | "rprivate" | "unbindable" | "runbindable" => detached::make_all_private(),
            _ => detached::make_all_slaves(),
        }
        .map_err(Error::step("keep mounts to ourselves"))?;
        let covered = process::open_dir(Path::new("/")).map_err(Error::path("open", "/"))?;
        detached::attach(rootfs.as_fd(), covered.as_fd()).map_err(Error::step("mount the root filesystem"))?;
    }
    let mut mounting = mounts::Mounting {
        root: rootfs.as_fd(),
        groups: mounts::open_groups(&first.cgroups)?,
        bundle: first.bundle,
        // Kernels without it refuse the option.
        label: Some(config.linux.mount_label.as_str())
            .filter(|label| !label.is_empty() && Path::new("/sys/fs/selinux/enforce").exists()),
        mapped: namespaces.own_or_joined().has(NamespaceSet::USER),
    };
    let standing = mounting.all(config, sources)?;
    let terminal = nodes(config, first.process, rootfs.as_fd(), &standing, channel)?;
    if let Some(process) = first.process {
        place::make_plain(rootfs.as_fd(), &process.cwd, place::Kind::Directory)?;
    }
    channel.say(message::HOOKS, "", &[]);
    channel.wait()?;
    let state = first.state.creating();
    oci::hooks::run("createContainer", &config.hooks.create_container, &state, Some(Path::new("/")))
        .map_err(|error| Error::Setup(error.to_string()))?;
    masks::set_sysctls(&config.linux.sysctl)?;
    masks::cover(&config.linux.masked_paths, &config.linux.readonly_paths, rootfs.as_fd(), &standing)?;
    if config.root.as_ref().is_some_and(|root| root.readonly) {
        detached::set_read_only(rootfs.as_fd(), false).map_err(Error::step("make the root filesystem read-only"))?;
    }
    names(config, namespaces.own_or_joined())?;
    enter(rootfs.as_fd(), inherits_mounts, first.pivot)?;
    propagate(config, rootfs.as_fd())?;
    drop(standing);
    Ok(terminal)
}

/// Makes what is in `/dev`, and the terminal, whose other side goes to the runtime.
fn nodes(
    config: &Config,
    process: Option<&Process>,
    root: BorrowedFd<'_>,
    standing: &Standing,
    channel: &Channel,
) -> Result<Option<OwnedFd>, Error> {
    let hosts = mounts::dev_is_the_hosts(config);
    if !hosts {
        devices::make(root, &config.linux.devices)?;
    }
    let terminal = match process.filter(|process| process.tty) {
        Some(process) => Some(standing::terminal_below(root, process, !hosts, channel)?),
        None => None,
    };
    mounts::finish_dev(config, standing)?;
    Ok(terminal)
}

fn names(config: &Config, namespaces: NamespaceSet) -> Result<(), Error> {
    if !namespaces.has(NamespaceSet::UTS) {
        return Ok(());
    }
    if let Some(name) = config.hostname.as_deref().filter(|name| !name.is_empty()) {
        rustix::system::sethostname(name.as_bytes()).map_err(Error::step("set the host name"))?;
    }
    if let Some(name) = config.domainname.as_deref().filter(|name| !name.is_empty()) {
        rustix::system::setdomainname(name.as_bytes()).map_err(Error::step("set the domain name"))?;
    }
    Ok(())
}

/// Makes the container's root this process's.
fn enter(rootfs: BorrowedFd<'_>, inherits_mounts: bool, pivot: bool) -> Result<(), Error> {
    if inherits_mounts || !pivot { detached::change_root(rootfs) } else { detached::pivot(rootfs) }
        .map_err(Error::step("change the root directory"))
}

/// How mounts made in the container later pass to those outside who have its root, too.
fn propagate(config: &Config, rootfs: BorrowedFd<'_>) -> Result<(), Error> {
    use detached::Propagation as P;
    let (how, below) = match config.linux.rootfs_propagation.as_str() {
        "shared" | "rshared" => (P::Shared, false),
        "slave" | "rslave" => (P::Slave, false),
        "private" | "rprivate" => (P::Private, false),
        "unbindable" | "runbindable" => (P::Unbindable, false),
        _ => return Ok(()),
    };
    detached::propagate(rootfs, how, below).map_err(Error::step("set the propagation of the root filesystem"))
}

fn set_terminal(terminal: Option<OwnedFd>) -> Result<(), Error> {
    let Some(slave) = terminal else { return Ok(()) };
    process::control_terminal(slave.as_fd())
        .and_then(|()| process::set_standard_streams([slave.as_fd(), slave.as_fd(), slave.as_fd()]))
        .map_err(Error::step("connect the standard streams"))
}

/// Waits until somebody starts the container; those who only look whether it still waits say nothing.
fn wait_for_start(listener: &OwnedFd) -> Result<OwnedFd, Error> {
    loop {
        match poll(&mut [PollFd::new(listener, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::step("wait to be started")(errno)),
        }
        let accepted = packet::accept(listener.as_fd()).map_err(Error::step("hear from who starts it"))?;
        let Some(socket) = accepted else { continue };
        if packet::receive(socket.as_fd()).is_ok_and(|said| said.is_some_and(|said| said.bytes == oci::START)) {
            return Ok(socket);
        }
    }
}

fn start(
    config: &Config,
    process: Option<&Process>,
    state: &oci::StateDocument,
    waiting: Waiting,
    channel: &Channel,
) -> Result<u8, Error> {
    oci::hooks::run("startContainer", &config.hooks.start_container, &state.created(), None)
        .map_err(|error| Error::Setup(error.to_string()))?;
    let (Some(process), Some((name, path, environment))) = (process, waiting.program) else {
        return Err(Error::Spec("there is no process to start".to_owned()));
    };
    waiting.privileges.finish(channel)?;
    Err(program::execute(&name, &path, process, &environment, None))
}

/// Puts a filter in force. If it asks about calls, somebody is given the place where it does before this returns.
pub(super) fn load(filter: &oci::Filter, channel: &Channel) -> Result<(), Error> {
    let failed = Error::step("load the system call filter");
    if !filter.asks {
        return filter.program.load_with(filter.flags).map_err(failed);
    }
    let socket = channel.copy()?;
    let hand_over = move |listener: BorrowedFd<'_>| {
        packet::send(socket.as_fd(), &[message::LISTENER], &[listener], true)?;
        packet::receive(socket.as_fd())?.map(drop).ok_or(Errno::CONNRESET)
    };
    filter.program.load_and_hand_over(filter.flags, hand_over).map_err(failed)
}
