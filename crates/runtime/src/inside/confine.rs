//! Taking away what the program must not have, in the order in which each step is still allowed.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit as RawRlimit};
use strata_sys::{caps, process, seccomp, signal};
use strata_types::plain;

use super::place::{self, Kind};
use super::{Channel, label, program, program::Identity};
use crate::Error;
use crate::spec::{Process, Rlimit};

/// Dies when the shim dies.
pub(super) fn die_with_parent() -> Result<(), Error> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(Error::step("tie the process to its shim"))
}

/// Processes of the container cannot look into this one while it is still ours.
pub(crate) fn hide_from_container() -> Result<(), Error> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Error::step("hide from the container"))
}

/// Goes where the program shall start, and checks that this is inside (CVE-2024-21626). Makes the directory if asked.
pub(super) fn working_directory(process: &Process, make: bool) -> Result<(), Error> {
    let path = if process.cwd.is_empty() { "/" } else { process.cwd.as_str() };
    let failed = |errno: Errno| Error::path("change to directory", path)(errno);
    if make {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        place::make(root.map_err(failed)?.as_fd(), path, Kind::Directory)?;
    }
    rustix::process::chdir(path).map_err(failed)?;
    match rustix::process::getcwd(Vec::new()) {
        Ok(real) if real.as_bytes().starts_with(b"/") => Ok(()),
        _ => Err(failed(Errno::NOENT)),
    }
}

/// Applies limits, capabilities, user and system call filter; gives the user's home if it was looked up.
pub(super) fn apply(
    process: &Process,
    filter: Option<seccomp::Program>,
    label: Option<label::Place>,
    channel: &Channel,
) -> Result<Option<String>, Error> {
    let Identity { user, home } = program::identity(process)?;
    if let Err(errno) = process::new_session_keyring() {
        channel.warn(&format!("the session keyring of the host stays joined: {}", plain(&errno)));
    }
    hand_over_streams(user.uid)?;
    if let Some(label) = label {
        label.write()?;
    }
    signal::reset();
    process::close_on_exec_from(3).map_err(Error::step("close descriptors"))?;
    // From here on no file is opened: there may be room for none.
    for limit in &process.rlimits {
        set_rlimit(limit, channel)?;
    }
    let sets = &process.capabilities;
    // What the host does not let us have, the container cannot have either.
    let ours = caps::effective().map_err(Error::step("read capabilities"))?;
    let within = |set: caps::CapSet| set.intersection(ours);
    // Loading needs CAP_SYS_ADMIN, unless privileges can no longer grow: then it can be the last step.
    if !process.no_new_privileges {
        load(filter.as_ref())?;
    }
    caps::bound(within(sets.bounding)).map_err(Error::step("bound capabilities"))?;
    caps::keep_over_setuid().map_err(Error::step("keep capabilities"))?;
    let umask = process.user.umask.unwrap_or(0o022);
    rustix::process::umask(Mode::from_raw_mode(umask));
    process::set_user(user.uid, user.gid, &user.groups).map_err(|errno| match errno {
        Errno::INVAL => Error::Setup(format!(
            "the user {}:{} has no id outside: the container's user namespace is too small, or only root is mapped because \
             you have no lines in /etc/subuid and /etc/subgid",
            user.uid, user.gid
        )),
        errno => Error::step("change the user")(errno),
    })?;
    let (effective, permitted) = (within(sets.effective), within(sets.permitted));
    caps::set(effective, permitted, within(sets.inheritable), within(sets.ambient))
        .map_err(Error::step("set capabilities"))?;
    // Changing the user forgets what was said about the shim's death.
    die_with_parent()?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(Error::step("forbid new privileges"))?;
        load(filter.as_ref())?;
    }
    Ok(home)
}

/// Gives the program's user the pipes or terminal it is connected to, so that `/dev/stdout` can be opened by anyone who
/// runs. What cannot be given (a file of the host, a device) stays as it is.
pub(super) fn hand_over_streams(uid: u32) -> Result<(), Error> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for stream in streams {
        let stat = rustix::fs::fstat(stream).map_err(Error::step("look at a standard stream"))?;
        if stat.st_uid == uid || stat.st_rdev == makedev(1, 3) {
            continue;
        }
        match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
            Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => {}
            Err(errno) => return Err(Error::step("hand over a standard stream")(errno)),
        }
    }
    Ok(())
}

fn load(filter: Option<&seccomp::Program>) -> Result<(), Error> {
    filter.map_or(Ok(()), |filter| filter.load().map_err(Error::step("load the system call filter")))
}

/// A limit as the kernel takes it.
pub(crate) fn rlimit(limit: &Rlimit) -> Result<(Resource, RawRlimit), Error> {
    let resource = resource(&limit.name).ok_or_else(|| Error::Spec(format!("invalid ulimit type: {}", limit.name)))?;
    let number = |value: u64| (value != u64::MAX).then_some(value);
    Ok((resource, RawRlimit { current: number(limit.soft), maximum: number(limit.hard) }))
}

/// Sets a limit; where raising it is refused, as far as this host allows.
fn set_rlimit(limit: &Rlimit, channel: &Channel) -> Result<(), Error> {
    let (resource, wanted) = rlimit(limit)?;
    match rustix::process::setrlimit(resource, wanted) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let allowed = rustix::process::getrlimit(resource).maximum;
            let least = |value: Option<u64>| match (value, allowed) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            channel.warn(&format!("the limit `{}` cannot be raised above {}", limit.name, least(None).unwrap_or(0)));
            let possible = RawRlimit { current: least(wanted.current), maximum: least(wanted.maximum) };
            rustix::process::setrlimit(resource, possible).map_err(Error::path("set limit", &limit.name))
        }
        Err(errno) => Err(Error::path("set limit", &limit.name)(errno)),
    }
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}
