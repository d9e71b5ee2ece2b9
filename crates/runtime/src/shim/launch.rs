//! Making processes: the container's first one, and those that join it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use strata_net::Sandbox;
use strata_sys::assemble::assemble;
use strata_sys::cgroup::{self, Cgroup, Entrance};
use strata_sys::layer_mounts::LayerMounts;
use strata_sys::process::{self, Child, NamespaceSet};
use strata_sys::{packet, user_namespace};
use strata_types::ContainerId;
use strata_types::ids::IdMaps;
use strata_types::mount::MountPlan;
use strata_types::plain;

use super::ahead::FirstAhead;
use super::external;
use super::kept::{self, Kept};
use super::program::{Ends, Program};
use crate::inside::{self, Channel, Cover, First, Joining, Streams, Trees, message};
use crate::spec::{DeviceRules, MountSource, Namespaces, Network, Process, Spec, Stdin};
use crate::{Container, Error, seccomp};

/// Where a container's things are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// `<root>/containers/<id>`.
    pub(super) dir: PathBuf,
    /// The engine's run directory.
    pub(super) run_dir: PathBuf,
}

/// A process that executes its program by now.
pub(super) struct Launched {
    pub(super) program: Program,
    /// The first process's connections.
    pub(super) sandbox: Option<Sandbox>,
    /// Its namespaces that the next container may have.
    pub(super) kept: Option<Kept>,
    pub(super) warnings: Vec<String>,
}

/// Makes the container and starts its first process: the one that was made `ahead`, if that can be it.
pub(super) fn first(spec: &Spec, places: &Places, mut ahead: Option<FirstAhead>) -> Result<(Launched, Cgroup), Error> {
    if let Some(runtime) = &spec.runtime {
        drop(ahead);
        return external::first(runtime, spec, places);
    }
    let mut warnings = ahead.as_mut().map(|ahead| std::mem::take(&mut ahead.warnings)).unwrap_or_default();
    let mut ahead = ahead.filter(|ahead| ahead.serves(spec));
    let filter = seccomp::filter(&spec.process, &places.run_dir)?;
    let layers = LayerMounts::new(store_root(&places.dir), &places.run_dir);
    let maps = spec.namespaces.user.as_ref();
    let (trees, root) = maps.is_none().then(|| trees(spec, &layers)).transpose()?.unzip();
    let root = root.flatten();
    let network = network(&spec.namespaces.network, places)?;
    let ipc = spec.namespaces.ipc_of.as_ref().map(|id| ipc_of(id, places)).transpose()?;
    let pids = spec.namespaces.pid_of.as_ref().map(|id| open(&joined(id, Joined::Pids, places)?)).transpose()?;
    let limited = limited_groups(spec, ahead.as_mut());
    let (cgroup, more) = limited.map_err(Error::io("make the container's control groups"))?;
    warnings.extend(more);
    let (streams, ends) = streams(&spec.process, maps)?;
    let (begun, kept) = match (ahead, &trees) {
        (Some(ahead), Some(trees)) => ahead.become_first(spec, places, (trees, root), &streams, filter.as_ref()),
        _ => (None, None),
    };
    let begin = || {
        if let Some(begun) = begun {
            return Ok(begun);
        }
        let (entrance, cgroups) = (entrance(&cgroup)?, groups(&cgroup));
        let (ours, theirs) = packet::pair().map_err(Error::step("make a pair of sockets"))?;
        let cover = Cover::Directory(&places.dir);
        let entry = First { spec, trees, cover, network, ipc, cgroups, entrance, streams, filter, ready: None };
        let start_in = cgroup.start_in();
        let inside = || inside::first(entry, Channel::new(theirs));
        let clone = || {
            process::clone(namespaces(&spec.namespaces), start_in.as_ref().map(AsFd::as_fd), inside)
                .map_err(Error::step("make the container's process"))
        };
        let child = match &pids {
            Some(pids) => with_pids_of(pids.as_fd(), clone),
            None => clone(),
        };
        Ok((child?, ours))
    };
    let mut sandbox = None;
    let done = begin().and_then(|(child, ours)| {
        let pid = child.pid;
        let mut more = Vec::new();
        let prepare = |channel: BorrowedFd<'_>| {
            if let Some(maps) = maps {
                inside::mapped::furnish(spec, maps, pid, channel, &layers, &mut more)?;
            }
            set_oom_score(&spec.process, pid, &mut more);
            sandbox = super::network::connect(spec, places, pid, &mut more)?;
            Ok(())
        };
        let program = follow(child, ours, prepare, Program::new_for(0, &spec.process, ends), &mut warnings);
        warnings.append(&mut more);
        program
    });
    match done {
        Ok(program) => Ok((Launched { program, sandbox, kept, warnings }, cgroup)),
        Err(error) => {
            super::network::finish(sandbox.and_then(super::network::leave));
            if let Err(error) = cgroup.remove() {
                tracing::debug!(%error, "control groups of a container that did not start stay");
            }
            Err(error)
        }
    }
}

/// The container's groups, with its limits: those that were made `ahead`, or new ones.
fn limited_groups(spec: &Spec, ahead: Option<&mut FirstAhead>) -> io::Result<(Cgroup, cgroup::Warnings)> {
    let rules = device_rules(&spec.device_rules);
    if let Some(ahead) = ahead
        && let Some(made) = ahead.limit(&spec.limits, rules.as_deref())?
    {
        return Ok(made);
    }
    Cgroup::create(&Cgroup::name(spec.id.as_str(), &spec.limits), &spec.limits, rules.as_deref())
}

/// Mounts all snapshots and filesystems, nowhere yet; with what may be kept of the root. The container's own process may not: it
/// cannot open disks.
pub(super) fn trees(spec: &Spec, layers: &LayerMounts) -> Result<(Trees, Option<kept::Root>), Error> {
    let mounted = |plan: &MountPlan| assemble(plan, layers).map_err(Error::io("mount the container's layers"));
    let plan = |mount: &crate::spec::Mount| match &mount.source {
        MountSource::Plan { plan, .. } => Some(mounted(plan)),
        MountSource::Filesystem { kind, device, options, .. } => Some(inside::filesystem(kind, device, options)),
        _ => None,
    };
    let plans = spec.mounts.iter().filter_map(plan).collect::<Result<Vec<_>, _>>()?;
    let root = kept::Root::mount(&spec.rootfs, layers);
    let (rootfs, root) = root.map_err(Error::io("mount the container's layers"))?;
    Ok((Trees { rootfs, plans }, root))
}

pub(super) fn entrance(cgroup: &Cgroup) -> Result<Entrance, Error> {
    cgroup.entrance().map_err(Error::io(inside::ENTER))
}

pub(super) fn groups(cgroup: &Cgroup) -> Vec<(&'static str, PathBuf)> {
    cgroup.dirs().map(|(controller, dir)| (controller, dir.to_owned())).collect()
}

/// Starts a process in the container whose first process is behind `target`.
pub(super) fn joining(
    number: u32,
    process: &Process,
    spec: &Spec,
    target: BorrowedFd<'_>,
    places: &Places,
    cgroup: &Cgroup,
) -> Result<Launched, Error> {
    if let Some(runtime) = &spec.runtime {
        return external::joining(runtime, number, process, spec, places);
    }
    let filter = seccomp::filter(process, &places.run_dir)?;
    let maps = spec.namespaces.user.as_ref();
    let (streams, ends) = streams(process, maps)?;
    let (ours, theirs) = packet::pair().map_err(Error::step("make a pair of sockets"))?;
    let (start_in, entrance) = (cgroup.start_in(), entrance(cgroup)?);
    let mut joined = NamespaceSet::MOUNT;
    for (own, namespace) in [
        (spec.namespaces.ipc || spec.namespaces.ipc_of.is_some(), NamespaceSet::IPC),
        (spec.namespaces.uts, NamespaceSet::UTS),
        (spec.namespaces.network != Network::Host, NamespaceSet::NET),
        (start_in.is_some(), NamespaceSet::CGROUP),
        (maps.is_some(), NamespaceSet::USER),
    ] {
        joined = if own { joined.and(namespace) } else { joined };
    }
    let entry = Joining {
        process,
        target,
        namespaces: joined,
        mapped: maps.is_some(),
        emulator: spec.emulator.as_ref(),
        entrance,
        streams,
        filter,
    };
    let inside = || inside::join(entry, theirs);
    let start_in = start_in.as_ref().map(AsFd::as_fd);
    let clone =
        |inside| process::clone(NamespaceSet::default(), start_in, inside).map_err(Error::step("make a process"));
    let child = match spec.namespaces.pid || spec.namespaces.pid_of.is_some() {
        true if user_namespace::is_initial() => with_pids_of(target, || clone(inside))?,
        true => by_way_of_another(target, start_in, inside)?,
        false => clone(inside)?,
    };
    let mut warnings = Vec::new();
    let (pid, mut more) = (child.pid, Vec::new());
    let prepare = |_: BorrowedFd<'_>| {
        set_oom_score(process, pid, &mut more);
        Ok(())
    };
    let program = follow(child, ours, prepare, Program::new_for(number, process, ends), &mut warnings)?;
    warnings.append(&mut more);
    Ok(Launched { program, sandbox: None, kept: None, warnings })
}

/// Set from here, where `/proc` is the machine's: a container's may lead the write anywhere (CVE-2025-52881). Lowering needs
/// CAP_SYS_RESOURCE, which a host may lack: then a warning has to do.
fn set_oom_score(process: &Process, pid: i32, warnings: &mut Vec<String>) {
    if let Some(adjustment) = process.oom_score_adj
        && let Err(error) = std::fs::write(format!("/proc/{pid}/oom_score_adj"), adjustment.to_string())
    {
        warnings.push(format!("the out-of-memory score cannot be set to {adjustment}: {}", plain(&error)));
    }
}

/// Makes a process in the process id namespace of `target` where there is no return from that: whoever is not root on the
/// machine may not enter its first one again. A process between enters it, and makes the new one our child.
fn by_way_of_another(
    target: BorrowedFd<'_>,
    start_in: Option<BorrowedFd<'_>>,
    inside: impl FnOnce() -> u8,
) -> Result<Child, Error> {
    let (ours, theirs) = packet::pair().map_err(Error::step("make a pair of sockets"))?;
    let between = process::clone(NamespaceSet::default(), None, || {
        let made = process::join(target, NamespaceSet::PID).and_then(|()| process::clone_sibling(start_in, inside));
        let told = match made {
            Ok(child) => packet::send(theirs.as_fd(), &child.pid.to_le_bytes(), &[child.pidfd.as_fd()], true),
            Err(errno) => packet::send(theirs.as_fd(), &errno.raw_os_error().to_le_bytes(), &[], true),
        };
        u8::from(told.is_err())
    })
    .map_err(Error::step("make a process"))?;
    drop(theirs);
    let heard = packet::receive(ours.as_fd()).map_err(Error::step("hear from the process between"))?;
    process::reap(between.pidfd.as_fd(), true).map_err(Error::step("reap the process between"))?;
    let packet = heard.ok_or(Error::ShimGone)?;
    let number = packet.bytes.try_into().map(i32::from_le_bytes).map_err(|_| Error::ShimGone)?;
    match packet.fds.into_iter().next() {
        Some(pidfd) => Ok(Child { pid: number, pidfd }),
        None => Err(Error::step("join the container's process ids")(rustix::io::Errno::from_raw_os_error(number))),
    }
}

/// Does something while new processes are made in the process id namespace of `target`.
fn with_pids_of<T>(target: BorrowedFd<'_>, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let own = process::own_namespace("pid").map_err(Error::step("look at our own process ids"))?;
    process::join(target, NamespaceSet::PID).map_err(Error::step("join the container's process ids"))?;
    let done = act();
    process::join(own.as_fd(), NamespaceSet::PID).map_err(Error::step("return to our own process ids"))?;
    done
}

/// Sees a new process through until it executes its program. `prepare` makes what it waits for and connects its networks
/// meanwhile: that waits for the kernel while the process mounts.
fn follow(
    child: Child,
    channel: OwnedFd,
    prepare: impl FnOnce(BorrowedFd<'_>) -> Result<(), Error>,
    program: impl FnOnce(Child) -> Program,
    warnings: &mut Vec<String>,
) -> Result<Program, Error> {
    let joined = prepare(channel.as_fd()).and_then(|()| {
        // One that failed already will say why.
        match packet::send(channel.as_fd(), b"go", &[], true) {
            Ok(()) | Err(rustix::io::Errno::PIPE) => Ok(()),
            Err(errno) => Err(Error::step("speak to the new process")(errno)),
        }
    });
    let is_joined = joined.is_ok();
    let heard = joined.and_then(|()| hear(&channel, warnings));
    match heard {
        Ok(terminal) => {
            let mut program = program(child);
            program.terminal = terminal;
            Ok(program)
        }
        Err(error) => {
            child.end();
            // What could not be prepared for it may have failed because it had: then its own reason is the one.
            match if is_joined { Ok(None) } else { hear(&channel, warnings) } {
                Err(its @ (Error::Setup(_) | Error::ProgramMissing(_) | Error::ProgramRefused(_))) => Err(its),
                _ => Err(error),
            }
        }
    }
}

/// Listens until the conversation ends: with the program's execution, or after an error was told.
fn hear(channel: &OwnedFd, warnings: &mut Vec<String>) -> Result<Option<OwnedFd>, Error> {
    let mut terminal = None;
    loop {
        let packet = packet::receive(channel.as_fd()).map_err(Error::step("hear from the new process"))?;
        let Some(packet) = packet else { return Ok(terminal) };
        let (kind, text) = packet.bytes.split_first().unwrap_or((&0, &[]));
        let text = String::from_utf8_lossy(text).into_owned();
        match *kind {
            message::WARNING => warnings.push(text),
            message::TERMINAL => {
                let master = packet.fds.into_iter().next().ok_or(Error::ShimGone)?;
                rustix::io::ioctl_fionbio(&master, true).map_err(Error::step("use the terminal"))?;
                terminal = Some(master);
            }
            message::PROGRAM_MISSING => return Err(Error::ProgramMissing(text)),
            message::PROGRAM_REFUSED => return Err(Error::ProgramRefused(text)),
            _ => return Err(Error::Setup(text)),
        }
    }
}

/// The pipes of a process without a terminal: its ends and ours.
pub(super) fn streams(process: &Process, maps: Option<&IdMaps>) -> Result<(Streams, Ends), Error> {
    if process.tty {
        return Ok((Streams::Terminal, Ends::default()));
    }
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(Error::step("make a pipe"));
    let ours = |fd: OwnedFd| rustix::io::ioctl_fionbio(&fd, true).map(|()| fd).map_err(Error::step("use a pipe"));
    let (stdin, input) = if process.stdin == Stdin::Empty {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        (null.map_err(Error::path("open", "/dev/null"))?, None)
    } else {
        let (read, write) = pipe()?;
        (read, Some(ours(write)?))
    };
    let (output, stdout) = pipe()?;
    let (errors, stderr) = pipe()?;
    let ends = Ends { stdin: input, outputs: [Some(ours(output)?), Some(ours(errors)?)] };
    let streams = Streams::Given([stdin, stdout, stderr]);
    if let Some(maps) = maps {
        inside::mapped::own_streams(&streams, maps)?;
    }
    Ok((streams, ends))
}

/// The root of the store that `dir` belongs to: `<root>/containers/<id>`.
pub(super) fn store_root(dir: &Path) -> &Path {
    dir.parent().and_then(Path::parent).unwrap_or(dir)
}

/// The namespace of others that the container is to be in, if it is to be in one.
fn network(network: &Network, places: &Places) -> Result<Option<OwnedFd>, Error> {
    let path = match network {
        Network::Join(path) => path.clone(),
        Network::Container(id) => joined(id, Joined::Network, places)?,
        _ => return Ok(None),
    };
    open(&path).map(Some)
}

fn ipc_of(id: &ContainerId, places: &Places) -> Result<inside::Ipc, Error> {
    let opened = |what| joined(id, what, places).and_then(|path| open(&path));
    Ok(inside::Ipc { namespace: opened(Joined::Ipc)?, mounts: opened(Joined::Mounts)? })
}

fn open(namespace: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::open(namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::path("open namespace", namespace.display().to_string()))
}

/// What containers may share with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// The network.
    Network,
    /// Process ids.
    Pids,
    /// Message queues, semaphores, shared memory.
    Ipc,
    /// Mounts.
    Mounts,
}

/// Where a namespace of another container is now.
pub(super) fn joined(id: &ContainerId, what: Joined, places: &Places) -> Result<PathBuf, Error> {
    let dir = store_root(&places.dir).join("containers").join(id.as_str());
    let state = Container::at(id.clone(), &dir, &places.run_dir).state()?;
    let (name, file) = match what {
        Joined::Network => ("network", "net"),
        Joined::Pids => ("PID namespace", "pid"),
        Joined::Ipc => ("IPC namespace", "ipc"),
        Joined::Mounts => ("IPC namespace", "mnt"),
    };
    if !state.status.is_alive() {
        return Err(Error::Spec(format!("cannot join {name} of a non running container: {id}")));
    }
    if matches!(what, Joined::Network | Joined::Ipc) {
        kept::tell_joined(&places.run_dir, id)?;
    }
    Ok(format!("/proc/{}/ns/{file}", state.pid).into())
}

/// Those of a container that shares none, whose users are the machine's.
pub(super) const OWN_NAMESPACES: NamespaceSet =
    NamespaceSet::MOUNT.and(NamespaceSet::PID).and(NamespaceSet::IPC).and(NamespaceSet::UTS).and(NamespaceSet::NET);

pub(super) fn namespaces(own: &Namespaces) -> NamespaceSet {
    let wanted = [
        (own.pid, NamespaceSet::PID),
        (own.ipc, NamespaceSet::IPC),
        (own.uts, NamespaceSet::UTS),
        (own.user.is_some(), NamespaceSet::USER),
        (own.network.is_own(), NamespaceSet::NET),
    ];
    wanted.into_iter().filter(|(own, _)| *own).fold(NamespaceSet::MOUNT, |all, (_, one)| all.and(one))
}

fn device_rules(rules: &DeviceRules) -> Option<Vec<cgroup::DeviceRule>> {
    let DeviceRules::Allow(more) = rules else { return None };
    let may = |access: &str, letter| access.contains(letter);
    let rule = |rule: &crate::spec::DeviceRule| cgroup::DeviceRule {
        block: rule.block,
        major: rule.major,
        minor: rule.minor,
        read: may(&rule.access, 'r'),
        write: may(&rule.access, 'w'),
        make: may(&rule.access, 'm'),
    };
    let mut all = cgroup::DeviceRule::standing();
    all.extend(more.iter().map(rule));
    Some(all)
}
