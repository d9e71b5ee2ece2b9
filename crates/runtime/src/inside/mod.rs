//! What happens in the container's own process, between its creation and the execution of its program.
//!
//! This runs in a copy of the shim, which is told how it went over a pair of sockets: warnings and a terminal on the way,
//! an error, or the end of the conversation when the program is executed.

mod ahead;
pub(crate) mod bundle;
mod confine;
mod devices;
mod emulation;
mod init;
mod label;
pub(crate) mod mapped;
mod masks;
mod mounts;
pub(crate) mod options;
mod place;
mod program;
mod secrets;
mod standing;

pub(crate) use ahead::{Story, ahead};
pub(crate) use confine::{hide_from_container, rlimit};
pub(crate) use mounts::{filesystem, open_sources, replaces};

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use strata_sys::cgroup::Entrance;
use strata_sys::excursion::Excursion;
use strata_sys::process::NamespaceSet;
use strata_sys::{bare, detached, packet, process, seccomp};
use strata_types::plain;

use self::standing::Ready;
use crate::Error;
use crate::emulator::Emulator;
use crate::spec::{Process, Spec};

/// What a process does first.
pub(crate) const ENTER: &str = "enter the container's control groups";

/// How a process's standard streams are made.
pub(crate) enum Streams {
    /// From these, in order.
    Given([OwnedFd; 3]),
    /// All are a terminal, which is made inside; its other side is sent to the shim.
    Terminal,
}

/// Snapshots that are mounted nowhere yet.
pub(crate) struct Trees {
    pub(crate) rootfs: OwnedFd,
    /// Those of `spec.mounts` that are plans, in their order.
    pub(crate) plans: Vec<OwnedFd>,
}

/// On what the root filesystem is mounted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cover<'a> {
    /// This directory of the host. The process is in a mount namespace of its own already.
    Directory(&'a Path),
    /// The only directory in a copy of this bare mount namespace. The process is in the shim's, and makes that copy.
    Bare(BorrowedFd<'a>),
}

/// What the first process of a container needs.
pub(crate) struct First<'a> {
    pub(crate) spec: &'a Spec,
    /// What is mounted; with a user namespace the shim makes it when this process is there.
    pub(crate) trees: Option<Trees>,
    /// What the root filesystem covers, in this process's sight only.
    pub(crate) cover: Cover<'a>,
    /// The network namespace to join, if it is not a new one or the host's.
    pub(crate) network: Option<OwnedFd>,
    /// Another container's queues and shared memory, if they are to be shared.
    pub(crate) ipc: Option<Ipc>,
    /// Directories of the container's own control groups, by controller.
    pub(crate) cgroups: Vec<(&'static str, PathBuf)>,
    /// The way into them.
    pub(crate) entrance: Entrance,
    pub(crate) streams: Streams,
    pub(crate) filter: Option<seccomp::Program>,
    /// What this process made before it heard all this.
    pub(crate) ready: Option<Ready>,
}

/// Another container's message queues, semaphores and shared memory.
pub(crate) struct Ipc {
    /// Its IPC namespace.
    pub(crate) namespace: OwnedFd,
    /// Its mount namespace, which has `/dev/shm`.
    pub(crate) mounts: OwnedFd,
}

/// What a process that joins a container needs.
pub(crate) struct Joining<'a> {
    pub(crate) process: &'a Process,
    /// The container's first process.
    pub(crate) target: BorrowedFd<'a>,
    pub(crate) namespaces: NamespaceSet,
    /// One of them is of users: the process is to be root in it first.
    pub(crate) mapped: bool,
    /// What runs the container's programs, if they are for another processor.
    pub(crate) emulator: Option<&'a Emulator>,
    /// The way into the container's control groups.
    pub(crate) entrance: Entrance,
    pub(crate) streams: Streams,
    pub(crate) filter: Option<seccomp::Program>,
}

/// The kinds of messages to the shim: one byte, then text.
pub(crate) mod message {
    pub(crate) const WARNING: u8 = b'W';
    pub(crate) const TERMINAL: u8 = b'T';
    pub(crate) const SETUP_FAILED: u8 = b'S';
    pub(crate) const PROGRAM_REFUSED: u8 = b'R';
    pub(crate) const PROGRAM_MISSING: u8 = b'M';
    /// Hooks of the runtime are to be run now.
    pub(crate) const HOOKS: u8 = b'H';
    /// Everything is ready to be started; or it is being started.
    pub(crate) const READY: u8 = b'D';
    /// Here is where the system call filter asks; somebody has to listen before anything else happens.
    pub(crate) const LISTENER: u8 = b'L';

    /// What a message that is an error says.
    pub(crate) fn error(kind: u8, text: &[u8]) -> crate::Error {
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            PROGRAM_MISSING => crate::Error::ProgramMissing(text),
            PROGRAM_REFUSED => crate::Error::ProgramRefused(text),
            _ => crate::Error::Setup(text),
        }
    }
}

/// The way to the shim, until it is closed.
pub(crate) struct Channel(RefCell<Option<OwnedFd>>);

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self(RefCell::new(Some(socket)))
    }

    fn say(&self, kind: u8, text: &str, fds: &[BorrowedFd<'_>]) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(text.as_bytes());
        bytes.truncate(packet::PACKET_BYTES_MAX);
        // A shim that is gone needs no message: this process dies with it.
        if let Some(socket) = self.0.borrow().as_ref()
            && let Err(errno) = packet::send(socket.as_fd(), &bytes, fds, true)
        {
            tracing::debug!(%errno, "nobody listens");
        }
    }

    /// Ends the conversation for this process; copies of it go on.
    fn close(&self) {
        self.0.replace(None);
    }

    /// The same conversation, for another thread.
    fn copy(&self) -> Result<OwnedFd, Error> {
        let socket = self.0.borrow();
        let copied = socket.as_ref().map(OwnedFd::try_clone);
        copied.ok_or(Error::ShimGone)?.map_err(Error::io("copy a descriptor"))
    }

    /// Tells the shim what could not be done as asked.
    fn warn(&self, text: &str) {
        self.say(message::WARNING, text, &[]);
    }

    fn fail(&self, error: &Error) {
        let kind = match error {
            Error::ProgramMissing(_) => message::PROGRAM_MISSING,
            Error::ProgramRefused(_) => message::PROGRAM_REFUSED,
            _ => message::SETUP_FAILED,
        };
        self.say(kind, &crate::error::sentence(error), &[]);
    }

    /// Waits for a mount that the shim makes.
    fn mount(&self) -> Result<OwnedFd, Error> {
        self.next().and_then(|packet| packet.fds.into_iter().next()).ok_or(Error::ShimGone)
    }

    /// Waits for the next thing that the shim says; none if it says no more.
    fn next(&self) -> Option<packet::Packet> {
        let socket = self.0.borrow();
        socket.as_ref().and_then(|socket| packet::receive(socket.as_fd()).ok().flatten())
    }

    /// Waits until the shim says that all it makes for this process is there.
    fn wait(&self) -> Result<(), Error> {
        self.next().map(drop).ok_or(Error::ShimGone)
    }
}

/// Becomes the container's first process. Returns only if that fails, with the exit code.
pub(crate) fn first(first: First<'_>, channel: Channel) -> u8 {
    let (process, init) = (&first.spec.process, first.spec.init);
    let opened = emulation::Opened::of(first.spec.emulator.as_ref());
    let done = opened.and_then(|emulator| {
        let home = try_first(first, &channel)?;
        program::run(process, home, (init, emulator), &channel)
    });
    report(done, &channel)
}

fn report(done: Result<u8, Error>, channel: &Channel) -> u8 {
    done.unwrap_or_else(|error| {
        channel.fail(&error);
        error.exit_code()
    })
}

fn try_first(first: First<'_>, channel: &Channel) -> Result<Option<String>, Error> {
    let First { spec, trees, cover, network, ipc, cgroups, entrance, streams, filter, mut ready } = first;
    confine::die_with_parent()?;
    entrance.pass().map_err(Error::io(ENTER))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let label = label::open(&spec.process)?;
    process::lead_session().map_err(Error::step("start a session"))?;
    let Material { rootfs, dev, sources } = material(spec, trees, channel)?;
    // All groups are opened while the host's paths can be seen.
    let groups = standing::groups(&cgroups, ready.as_mut())?;
    // In version 2 this process is in its group from the start, and sees it as the root of all.
    if matches!(cgroups.as_slice(), [("", _)]) {
        process::unshare_cgroup().map_err(Error::step("have control groups to ourselves"))?;
    }
    let (is_bare, covered) = (matches!(cover, Cover::Bare(_)), covered(cover, spec.namespaces.user.is_some())?);
    detached::attach(rootfs.as_fd(), covered.as_fd()).map_err(Error::step("mount the root filesystem"))?;
    let shm = ipc.map(join_ipc).transpose()?;
    let standing = standing::mount(spec, rootfs.as_fd(), groups, standing::Given { dev, shm, ready })?;
    mounts::attach(spec, rootfs.as_fd(), sources)?;
    devices::make(spec, rootfs.as_fd(), &standing)?;
    emulation::register(spec.emulator.as_ref(), &standing)?;
    let terminal = match &streams {
        Streams::Terminal => Some(standing::terminal(spec, &standing, channel)?),
        Streams::Given(_) => None,
    };
    if let Some(network) = network {
        process::join(network.as_fd(), NamespaceSet::NET).map_err(Error::step("join the network"))?;
    }
    if spec.namespaces.network.is_own()
        && let Err(errno) = strata_sys::loopback::up()
    {
        channel.warn(&format!("the loopback interface stays down: {}", plain(&errno)));
    }
    masks::sysctls(spec, &standing)?;
    masks::apply(spec, rootfs.as_fd(), &standing)?;
    if spec.read_only {
        detached::set_read_only(rootfs.as_fd(), false).map_err(Error::step("make the root filesystem read-only"))?;
    }
    // In a copy of a bare namespace there is nothing else that would have to go.
    let changed = if is_bare { detached::change_root(rootfs.as_fd()) } else { detached::pivot(rootfs.as_fd()) };
    changed.map_err(Error::step("change the root directory"))?;
    drop((rootfs, standing, covered));
    names(spec)?;
    confine::working_directory(&spec.process, true)?;
    set_streams(streams, terminal)?;
    channel.wait()?;
    confine::apply(&spec.process, filter, label, channel)
}

/// Joins the message queues of another container; returns a second sight of its `/dev/shm`.
///
/// A tree can be copied from within its own mount namespace only: this process is there for a moment.
fn join_ipc(theirs: Ipc) -> Result<OwnedFd, Error> {
    process::join(theirs.namespace.as_fd(), NamespaceSet::IPC).map_err(Error::step("join the IPC namespace"))?;
    let _returns = Excursion::into(theirs.mounts.as_fd()).map_err(Error::io("look at the shared memory"))?;
    let copied = process::open_dir(Path::new(standing::SHM)).and_then(|dir| detached::copy(dir.as_fd(), "", false));
    copied.map_err(Error::path("share", standing::SHM))
}

/// What the first process mounts.
struct Material {
    rootfs: OwnedFd,
    /// `/dev`, if it is made already.
    dev: Option<OwnedFd>,
    sources: Vec<OwnedFd>,
}

fn material(spec: &Spec, trees: Option<Trees>, channel: &Channel) -> Result<Material, Error> {
    if let Some(Trees { rootfs, plans }) = trees {
        let sources = mounts::open_sources(spec, plans)?;
        return Ok(Material { rootfs, dev: None, sources });
    }
    let mapped::Furniture { rootfs, dev, sources } = mapped::receive(spec, channel)?;
    let sources = mounts::with_memory(spec, sources)?;
    Ok(Material { rootfs, dev, sources })
}

/// Opens the directory that the root filesystem covers, in a mount namespace of which nobody else hears.
fn covered(cover: Cover<'_>, is_mapped: bool) -> Result<OwnedFd, Error> {
    match cover {
        Cover::Bare(bare) => bare::enter(bare).map_err(Error::io("enter a bare mount namespace")),
        Cover::Directory(at) => {
            detached::make_all_private().map_err(Error::step("keep mounts to ourselves"))?;
            // Not every process can reach a directory of the store.
            let at = if is_mapped { Path::new("/") } else { at };
            process::open_dir(at).map_err(Error::path("open", at.display().to_string()))
        }
    }
}

/// Host and domain name.
fn names(spec: &Spec) -> Result<(), Error> {
    if !spec.namespaces.uts {
        return Ok(());
    }
    if let Some(name) = &spec.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(Error::step("set the host name"))?;
    }
    if let Some(name) = &spec.domainname {
        rustix::system::setdomainname(name.as_bytes()).map_err(Error::step("set the domain name"))?;
    }
    Ok(())
}

/// Makes the given streams, or the terminal, numbers 0 to 2.
fn set_streams(streams: Streams, terminal: Option<OwnedFd>) -> Result<(), Error> {
    match (streams, terminal) {
        (Streams::Given([stdin, stdout, stderr]), _) => {
            process::set_standard_streams([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
        }
        (Streams::Terminal, Some(slave)) => process::control_terminal(slave.as_fd())
            .and_then(|()| process::set_standard_streams([slave.as_fd(), slave.as_fd(), slave.as_fd()])),
        (Streams::Terminal, None) => Ok(()),
    }
    .map_err(Error::step("connect the standard streams"))
}

/// Becomes another process of a container. Returns only if that fails, with the exit code.
pub(crate) fn join(joining: Joining<'_>, channel: OwnedFd) -> u8 {
    let process = joining.process;
    let channel = Channel::new(channel);
    let opened = emulation::Opened::of(joining.emulator);
    let done = opened.and_then(|emulator| {
        let home = try_join(joining, &channel)?;
        program::run(process, home, (false, emulator), &channel)
    });
    report(done, &channel)
}

fn try_join(joining: Joining<'_>, channel: &Channel) -> Result<Option<String>, Error> {
    let Joining { process, target, namespaces, mapped, emulator: _, entrance, streams, filter } = joining;
    confine::die_with_parent()?;
    entrance.pass().map_err(Error::io(ENTER))?;
    confine::hide_from_container()?;
    let label = label::open(process)?;
    process::lead_session().map_err(Error::step("start a session"))?;
    process::join(target, namespaces).map_err(Error::step("join the container's namespaces"))?;
    if mapped {
        mapped::become_root()?;
    }
    // Entering a mount namespace makes its root ours.
    let terminal = match &streams {
        Streams::Terminal => Some(standing::terminal_of_joined(process, channel)?),
        Streams::Given(_) => None,
    };
    confine::working_directory(process, false)?;
    set_streams(streams, terminal)?;
    channel.wait()?;
    confine::apply(process, filter, label, channel)
}
