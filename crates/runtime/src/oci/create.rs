//! Making a container from a bundle, up to where its program could be executed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use strata_sys::cgroup::{Cgroup, Entrance, Layout};
use strata_sys::process::{self as processes, Child, NamespaceSet};
use strata_sys::{detached, packet, user_namespace};
use strata_types::runtime_spec::{Config, Resources};

use super::record::{Place, Record, StateDocument, Status, read_config};
use super::systemd::{Manager, Systemd, Unit};
use super::{
    Error, Filter, Namespaces, Runtime, Schedule, hooks, life, namespaces, process, resctrl, resources, validate,
};
use crate::inside::bundle::mounts::{is_bind, open_bind};
use crate::inside::options::Options;
use crate::inside::{ENTER, bundle, message};
use crate::shim::record;
use crate::{seccomp, spec};

/// What `create` is told besides the bundle.
#[derive(Debug)]
pub struct CreateOptions<'a> {
    /// Where the terminal goes; without, whoever called keeps it.
    pub console: Option<BorrowedFd<'a>>,
    /// Gets the number of the first process.
    pub pid_file: Option<PathBuf>,
    /// So many descriptors from 3 on are the program's.
    pub descriptors: u32,
    /// So many of them are sockets that its program is to serve (sd_listen_fds(3)).
    pub listening: u32,
    /// The old root is left behind by pivot_root(2); otherwise by chroot(2).
    pub pivot: bool,
    /// It gets a session keyring of its own.
    pub new_keyring: bool,
    /// Its program may or may not have a terminal; whether it does is the caller's affair.
    pub takes_terminal: bool,
}

/// A container that was made.
#[derive(Debug)]
pub struct Created {
    /// Its first process.
    pub pid: i32,
    /// The same, for waiting.
    pub pidfd: OwnedFd,
    /// Its terminal, if it has one that went nowhere.
    pub terminal: Option<OwnedFd>,
    /// What could not be done as asked and was left out.
    pub warnings: Vec<String>,
}

/// A configuration that was checked, and all that is found out before anything is made.
struct Checked {
    config: Config,
    process: Option<spec::Process>,
    namespaces: Namespaces,
    filter: Option<Filter>,
    schedule: Schedule,
    bundle: PathBuf,
    rootfs: PathBuf,
    cgroup: String,
    /// The unit of systemd that the group is of, and who makes it.
    scope: Option<(Unit, Manager)>,
}

impl Runtime {
    /// Makes the container `id` from the bundle.
    pub fn create(&self, id: &str, bundle: &Path, options: &CreateOptions<'_>) -> Result<Created, Error> {
        let place = Place::of(&self.root, id)?;
        let bundle = bundle.canonicalize().map_err(crate::Error::path("open", bundle.display().to_string()))?;
        let (config, bytes) = read_config(&bundle.join("config.json"))?;
        let mut checked = self.check(config, bundle, id)?;
        if let Some(process) = checked.process.as_mut().filter(|_| options.listening > 0) {
            process.env.extend([format!("LISTEN_FDS={}", options.listening), "LISTEN_PID=1".to_owned()]);
        }
        let has_terminal = checked.process.as_ref().is_some_and(|process| process.tty);
        if !options.takes_terminal && has_terminal != options.console.is_some() {
            return Err(Error::Config(match has_terminal {
                true => "cannot allocate tty if runc will detach without setting console socket".to_owned(),
                false => "cannot use console socket if runc will not detach or allocate tty".to_owned(),
            }));
        }
        let dir = place.claim()?;
        let made = place.keep_config(&bytes).and_then(|()| self.make(&mut checked, &place, &dir, id, options));
        if made.is_err() {
            place.remove()?;
        }
        made
    }

    fn check(&self, config: Config, bundle: PathBuf, id: &str) -> Result<Checked, Error> {
        let namespaces = Namespaces::of(&config)?;
        validate::check(&config, &namespaces)?;
        let process = config.process.as_ref().map(process::process).transpose()?;
        let schedule = config.process.as_ref().map(Schedule::of).transpose()?.unwrap_or_default();
        let filter = config.linux.seccomp.as_ref().map(seccomp::of_bundle).transpose()?.flatten();
        let root = bundle.join(config.root.as_ref().map_or("", |root| root.path.as_str()));
        let rootfs =
            root.canonicalize().map_err(crate::Error::path("open the root filesystem", root.display().to_string()))?;
        let (cgroup, scope) = match self.by_systemd {
            true => {
                let unit = Unit::of(&config.linux.cgroups_path, id, Systemd::is_of_person())?;
                let mut manager = self.systemd.connect()?;
                (unit.path(&manager.root()?), Some((unit, manager)))
            }
            false => (cgroup_path(&config, id)?, None),
        };
        Ok(Checked { config, process, namespaces, filter, schedule, bundle, rootfs, cgroup, scope })
    }

    /// Makes control groups and the process. What was made is taken back if something fails.
    fn make(
        &self,
        checked: &mut Checked,
        place: &Place,
        dir: &OwnedFd,
        id: &str,
        options: &CreateOptions<'_>,
    ) -> Result<Created, Error> {
        let is_new = !Cgroup::open_everywhere(&checked.cgroup).exists();
        let mut warnings = Vec::new();
        let group = match checked.scope {
            Some(_) => Cgroup::expect_everywhere(&checked.cgroup),
            None => groups(checked, &mut warnings)?,
        };
        let mut known = Record {
            oci_version: checked.config.oci_version.clone(),
            id: id.to_owned(),
            bundle: checked.bundle.clone(),
            rootfs: checked.rootfs.clone(),
            created: Timestamp::now(),
            owner: rustix::process::geteuid().as_raw(),
            annotations: checked.config.annotations.clone(),
            pid: 0,
            pid_started_ticks: 0,
            is_ready: false,
            cgroup: checked.cgroup.clone(),
            has_own_cgroup: is_new,
            unit: checked.scope.as_ref().map(|(unit, _)| unit.clone()),
            class: resctrl::Class::default(),
        };
        let set = if checked.scope.is_some() { Ok(()) } else { limit(&group, &checked.config.linux.resources) };
        let made = set.and_then(|()| {
            let (child, channel) = process_of(checked, place, dir, &known, &group, options)?;
            let seen = see_through(checked, place, &mut known, &group, &child, &channel, options, &mut warnings);
            if seen.is_err() {
                child.end();
            }
            seen.map(|terminal| (child, terminal))
        });
        match made {
            Ok((child, terminal)) => Ok(Created { pid: child.pid, pidfd: child.pidfd, terminal, warnings }),
            Err(error) => {
                let state = life::text(&StateDocument::new(&Record { pid: 0, ..known.clone() }, Status::Stopped));
                if let Err(error) = life::clear(&known, &self.systemd) {
                    tracing::debug!(%error, "control groups of a container that was not made stay");
                }
                for error in hooks::run_all("poststop", &checked.config.hooks.poststop, &state, &checked.bundle) {
                    tracing::warn!("{error}");
                }
                Err(error)
            }
        }
    }
}

/// Where its control group is. What is not absolute is below ours.
fn cgroup_path(config: &Config, id: &str) -> Result<String, Error> {
    let asked = config.linux.cgroups_path.as_str();
    let path = match asked {
        "" => format!("/strata/{id}"),
        asked if asked.starts_with('/') => asked.to_owned(),
        asked => format!("/strata/{asked}"),
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() || parts.contains(&"..") {
        // The first group of all is the machine's.
        return Err(Error::Config(format!("cgroupsPath {asked:?} is no place for a container")));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Makes the control groups. Somebody to whom none are delegated has none, and no limits.
fn groups(checked: &Checked, warnings: &mut Vec<String>) -> Result<Cgroup, Error> {
    match Cgroup::create_everywhere(&checked.cgroup) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            warnings.push("control groups are not delegated to you: the container has no limits".to_owned());
            Ok(Cgroup::none())
        }
        made => Ok(made.map_err(crate::Error::io("make the container's control groups"))?),
    }
}

/// Clones the first process into its namespaces; it waits to be told that everything around it is there.
fn process_of(
    checked: &Checked,
    place: &Place,
    dir: &OwnedFd,
    known: &Record,
    group: &Cgroup,
    options: &CreateOptions<'_>,
) -> Result<(Child, OwnedFd), Error> {
    let Checked { config, namespaces, bundle, .. } = checked;
    let rootfs = open_root(&checked.rootfs)?;
    let sources = sources(config, bundle)?;
    let listener = place.listen(dir)?;
    let entrance = match checked.scope {
        Some(_) => Entrance::default(),
        None => group.entrance().map_err(crate::Error::io(ENTER))?,
    };
    let (ours, theirs) = packet::pair().map_err(crate::Error::step("make a pair of sockets"))?;
    let state = StateDocument::new(known, Status::Creating);
    let first = bundle::First {
        config,
        process: checked.process.as_ref(),
        bundle,
        rootfs,
        sources,
        namespaces,
        cgroups: group.dirs().map(|(controller, dir)| (controller, dir.to_owned())).collect(),
        entrance,
        listener,
        filter: checked.filter.clone(),
        schedule: &checked.schedule,
        pivot: options.pivot,
        new_keyring: options.new_keyring,
        descriptors: options.descriptors,
        state: &state,
    };
    namespaces.join_pids()?;
    let inside = || bundle::first(first, theirs);
    let child = match namespaces.joined_users() {
        None => processes::clone(namespaces.at_clone(), None, inside),
        Some(users) => clone_among(users, namespaces.at_clone(), inside),
    };
    Ok((child.map_err(crate::Error::step("make the container's process"))?, ours))
}

/// Clones a process whose new namespaces belong to the user namespace `users`: by way of one that is in it already.
fn clone_among(users: BorrowedFd<'_>, own: NamespaceSet, inside: impl FnOnce() -> u8) -> Result<Child, Errno> {
    let (ours, theirs) = packet::pair()?;
    let between = processes::clone(NamespaceSet::default(), None, || {
        let made = processes::join(users, NamespaceSet::USER)
            .and_then(|()| user_namespace::become_root())
            .and_then(|()| processes::unshare(own))
            .and_then(|()| processes::clone_sibling(None, inside));
        let told = match &made {
            Ok(child) => packet::send(theirs.as_fd(), &[0], &[child.pidfd.as_fd()], true),
            Err(errno) => packet::send(theirs.as_fd(), &errno.raw_os_error().to_le_bytes(), &[], true),
        };
        u8::from(told.is_err())
    })?;
    drop(theirs);
    let heard = packet::receive(ours.as_fd())?;
    processes::reap(between.pidfd.as_fd(), true)?;
    let packet = heard.ok_or(Errno::CHILD)?;
    match (packet.fds.into_iter().next(), packet.bytes.try_into()) {
        // Its number here is another than there.
        (Some(pidfd), _) => Ok(Child { pid: processes::number(pidfd.as_fd())?, pidfd }),
        (None, Ok(number)) => Err(Errno::from_raw_os_error(i32::from_le_bytes(number))),
        (None, Err(_)) => Err(Errno::CHILD),
    }
}

/// The root filesystem as a mount that is nowhere yet.
fn open_root(path: &Path) -> Result<OwnedFd, Error> {
    let failed = || crate::Error::path("open the root filesystem", path.display().to_string());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(failed())?;
    Ok(detached::copy(opened.as_fd(), "", true).map_err(failed())?)
}

/// Opens what is bound while we may look everywhere, for a process that may not; what has other ids is shown with them.
fn sources(config: &Config, bundle: &Path) -> Result<Vec<Option<OwnedFd>>, Error> {
    let is_mapped = config.linux.namespaces.iter().any(|namespace| namespace.kind == "user");
    let open = |mount: &strata_types::runtime_spec::Mount| {
        let options = Options::parse(&mount.options);
        let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
        // The process itself opens what it may, in the order of the list, which then is that of the mounts.
        if !is_bind(mount, &options) || !(is_mapped || own || options.mapped.is_some()) {
            return Ok(None);
        }
        let opened = open_bind(mount, &options, bundle)?;
        if own || options.mapped.is_some() {
            let (users, groups) = match own {
                true => (&mount.uid_mappings, &mount.gid_mappings),
                false => (&config.linux.uid_mappings, &config.linux.gid_mappings),
            };
            let maps = namespaces::id_maps(users, groups);
            let failed = || crate::Error::path("map the ids of", &mount.source);
            let users = user_namespace::with_ids(&maps).map_err(failed())?;
            let below = options.mapped.unwrap_or(false);
            detached::map_ids(opened.as_fd(), users.as_fd(), below).map_err(failed())?;
        }
        Ok(Some(opened))
    };
    config.mounts.iter().map(open).collect()
}

/// Sees the new process through until it is ready. Gives its terminal, if that went nowhere.
#[expect(clippy::too_many_arguments, reason = "what happens between two processes concerns all that both have")]
fn see_through(
    checked: &mut Checked,
    place: &Place,
    known: &mut Record,
    group: &Cgroup,
    child: &Child,
    channel: &OwnedFd,
    options: &CreateOptions<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<OwnedFd>, Error> {
    known.pid = child.pid;
    known.pid_started_ticks = record::started_ticks(child.pid).unwrap_or(0);
    place.write(known)?;
    let Checked { config, scope, namespaces: has, bundle, .. } = checked;
    let Config { hooks: named, linux, process, .. } = &*config;
    if has.own().has(NamespaceSet::USER) {
        let maps = namespaces::id_maps(&linux.uid_mappings, &linux.gid_mappings);
        user_namespace::set_ids(child.pid, &maps).map_err(crate::Error::step("map users and groups"))?;
    }
    if let Some(adjustment) = process.as_ref().and_then(|process| process.oom_score_adj) {
        set_oom_score(child.pid, adjustment)?;
    }
    enter(scope, &known.id, group, &linux.resources, child.pid)?;
    if let Some(wanted) = &linux.intel_rdt {
        let assigned = resctrl::assign(wanted, &known.id, child.pid, &mut known.class);
        // What was made is known before anything can fail.
        place.write(known)?;
        assigned?;
    }
    go_on(channel)?;
    let mut terminal = None;
    loop {
        let packet = packet::receive(channel.as_fd()).map_err(crate::Error::step("hear from the new process"))?;
        let packet = packet.ok_or(Error::Start(crate::Error::Setup("it ended without a word".to_owned())))?;
        let (kind, text) = packet.bytes.split_first().unwrap_or((&0, &[]));
        match *kind {
            message::WARNING => warnings.push(String::from_utf8_lossy(text).into_owned()),
            message::TERMINAL => terminal = packet.fds.into_iter().next(),
            message::HOOKS => {
                let state = |status| life::text(&StateDocument::new(known, status));
                // The older kind was made for a container that is there.
                hooks::run("prestart", &named.prestart, &state(Status::Created), Some(bundle))?;
                let creating = state(Status::Creating);
                hooks::run("createRuntime", &named.create_runtime, &creating, Some(bundle))?;
                go_on(channel)?;
            }
            message::READY => break,
            kind => return Err(Error::Start(message::error(kind, text))),
        }
    }
    if let (Some(console), Some(master)) = (options.console, &terminal) {
        send_terminal(console, master)?;
        terminal = None;
    }
    known.is_ready = true;
    place.write(known)?;
    if let Some(path) = &options.pid_file {
        write_pid(path, child.pid)?;
    }
    Ok(terminal)
}

/// Puts the process into its control group, which is there and has its limits, unless it goes in by itself; systemd makes
/// that only now, as it wants a process for it.
fn enter(
    scope: &mut Option<(Unit, Manager)>,
    id: &str,
    group: &Cgroup,
    resources: &Resources,
    pid: i32,
) -> Result<(), Error> {
    let Some((unit, manager)) = scope else {
        return match group.layout() {
            Layout::V1 => Ok(()),
            _ => Ok(group.join(pid).map_err(crate::Error::io(ENTER))?),
        };
    };
    manager.start(unit, id, pid, &resources::version_2(resources))?;
    if !group.exists() {
        return Err(Error::Config(format!("systemd made the unit {} somewhere else than expected", unit.name())));
    }
    limit(group, resources)
}

/// Sets all limits of a group.
fn limit(group: &Cgroup, resources: &Resources) -> Result<(), Error> {
    resources::set(group, resources).and_then(|()| resources::set_devices(group, resources))
}

/// Tells the new process to go on. One that failed already will say why.
pub(super) fn go_on(channel: &OwnedFd) -> Result<(), Error> {
    match packet::send(channel.as_fd(), b"go", &[], true) {
        Ok(()) | Err(Errno::PIPE) => Ok(()),
        Err(errno) => Err(crate::Error::step("speak to the new process")(errno).into()),
    }
}

pub(super) fn set_oom_score(pid: i32, adjustment: i32) -> Result<(), Error> {
    let path = format!("/proc/{pid}/oom_score_adj");
    let written = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(&file, adjustment.to_string().as_bytes()));
    Ok(written.map(drop).map_err(crate::Error::path("write", path))?)
}

/// Hands a terminal over as callers of runc expect it (runc, docs/terminals.md).
pub(super) fn send_terminal(console: BorrowedFd<'_>, master: &OwnedFd) -> Result<(), Error> {
    let sent = packet::send(console, b"/dev/ptmx", &[master.as_fd()], true);
    Ok(sent.map_err(crate::Error::step("send the terminal to the console socket"))?)
}

pub(super) fn write_pid(path: &Path, pid: i32) -> Result<(), Error> {
    use strata_sys::durable::{Durability, write_file};
    let failed = |error| crate::Error::path("write", path.display().to_string())(std::io::Error::other(error));
    Ok(write_file(path, pid.to_string().as_bytes(), 0o644, Durability::Ephemeral).map_err(failed)?)
}
