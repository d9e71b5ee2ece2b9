//! What every container has: `/proc`, `/dev` with its nodes and terminals, `/sys`, its control groups.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_sys::{detached, process, pty};

use super::message::TERMINAL;
use super::place::{self, Kind};
use super::{Channel, mounts};
use crate::Error;
use crate::spec::{Process, SharedMemory, Spec};

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// The standing mounts that were made here; none for those the person replaced. What is looked up in them cannot have
/// been put there by an image.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) proc: Option<OwnedFd>,
    pub(super) sys: Option<OwnedFd>,
    pub(super) dev: Option<OwnedFd>,
    pub(super) pts: Option<OwnedFd>,
}

/// Where shared memory is.
pub(super) const SHM: &str = "/dev/shm";
/// How much of it there is when nobody says, as with Docker.
const SHM_BYTES_USUAL: u64 = 64 << 20;

/// Standing mounts that are there already.
pub(super) struct Given {
    /// With a user namespace, `/dev` with its nodes as the shim made it.
    pub(super) dev: Option<OwnedFd>,
    /// Another container's shared memory.
    pub(super) shm: Option<OwnedFd>,
    /// What was made before anybody knew what for.
    pub(super) ready: Option<Ready>,
}

/// One of the kernel's filesystems, as it is asked for.
#[derive(PartialEq, Eq)]
struct Wish {
    fs: &'static str,
    options: Vec<String>,
    attributes: MountAttrFlags,
}

impl Wish {
    fn new(fs: &'static str, options: &[&str], attributes: MountAttrFlags) -> Self {
        Self { fs, options: options.iter().map(|option| (*option).to_owned()).collect(), attributes }
    }

    fn instance(&self) -> Result<OwnedFd, Errno> {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        detached::instance(self.fs, &options)
    }
}

/// What most containers have, made ahead of the container's specification. Nothing of it is a mount yet: a container's
/// mounts are listed in the order in which they were made.
pub(crate) struct Ready {
    filesystems: Vec<(Wish, OwnedFd)>,
    groups: Vec<(&'static str, OwnedFd)>,
}

impl Ready {
    /// Makes it. What the kernel refuses is left out: it is asked again when it is needed, and says why then.
    pub(super) fn make(cgroups: &[(&'static str, PathBuf)]) -> Result<Self, Error> {
        let made = |wish: Wish| wish.instance().ok().map(|instance| (wish, instance));
        let filesystems = [
            proc(),
            dev(),
            terminals(true),
            shared_memory(SHM_BYTES_USUAL),
            message_queues(),
            sys(READ_ONLY),
            places_of_groups(),
        ];
        Ok(Self { filesystems: filesystems.into_iter().filter_map(made).collect(), groups: open_groups(cgroups)? })
    }

    fn take(&mut self, wish: &Wish) -> Option<OwnedFd> {
        let at = self.filesystems.iter().position(|(made, _)| made == wish)?;
        Some(self.filesystems.swap_remove(at).1)
    }
}

fn proc() -> Wish {
    Wish::new("proc", &[], NOSUID | NODEV | NOEXEC)
}

fn dev() -> Wish {
    Wish::new("tmpfs", &["mode=755", "size=65536k"], NOSUID)
}

/// In a namespace of one user nobody is group 5.
fn terminals(with_group: bool) -> Wish {
    let options = ["ptmxmode=0666", "mode=0620", "gid=5"];
    Wish::new("devpts", &options[..if with_group { 3 } else { 2 }], NOSUID | NOEXEC)
}

fn shared_memory(size_bytes: u64) -> Wish {
    Wish::new("tmpfs", &["source=shm", "mode=1777", &format!("size={size_bytes}")], NOSUID | NODEV | NOEXEC)
}

fn message_queues() -> Wish {
    Wish::new("mqueue", &[], NOSUID | NODEV | NOEXEC)
}

fn sys(access: MountAttrFlags) -> Wish {
    Wish::new("sysfs", &[], NOSUID | NODEV | NOEXEC | access)
}

/// What the groups of version 1 are mounted in.
fn places_of_groups() -> Wish {
    Wish::new("tmpfs", &["mode=755"], NOSUID | NODEV | NOEXEC)
}

/// Makes and attaches them.
pub(super) fn mount(
    spec: &Spec,
    root: BorrowedFd<'_>,
    groups: Vec<(&'static str, OwnedFd)>,
    Given { dev: given, shm, mut ready }: Given,
) -> Result<Standing, Error> {
    let mut made = |wish: &Wish| {
        let ready = ready.as_mut().and_then(|ready| ready.take(wish));
        let instance = ready.map_or_else(|| wish.instance(), Ok)?;
        detached::mount(&instance, wish.attributes)
    };
    let mut make_in = |dev: Option<&OwnedFd>, target: &str, wish: Wish| -> Result<Option<OwnedFd>, Error> {
        if mounts::replaces(spec, target) {
            return Ok(None);
        }
        let mount = made(&wish).map_err(Error::path("make a filesystem for", target))?;
        match dev {
            Some(dev) => attach_in(dev, target, &mount)?,
            None => attach(root, target, &mount)?,
        }
        Ok(Some(mount))
    };
    let proc = make_in(None, "/proc", proc())?;
    // Where nothing is yet.
    let is_new = given.is_none();
    let dev = match given {
        Some(dev) => attach(root, "/dev", &dev).map(|()| Some(dev))?,
        None => make_in(None, "/dev", dev())?,
    };
    let new_dev = dev.as_ref().filter(|_| is_new);
    let pts = match make_in(new_dev, "/dev/pts", terminals(true)) {
        Err(Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::InvalidInput => {
            make_in(new_dev, "/dev/pts", terminals(false))?
        }
        other => other?,
    };
    match (shm, spec.shared_memory) {
        (Some(theirs), _) if !mounts::replaces(spec, SHM) => attach(root, SHM, &theirs)?,
        (None, SharedMemory::Own) => {
            make_in(new_dev, SHM, shared_memory(spec.shm_size_bytes))?;
        }
        (None, SharedMemory::Host) if !mounts::replaces(spec, SHM) => {
            hosts(root, SHM)?;
        }
        _ => {}
    }
    make_in(new_dev, "/dev/mqueue", message_queues())?;
    let access = if spec.system_writable { MountAttrFlags::empty() } else { READ_ONLY };
    let sys = match make_in(None, "/sys", sys(access)) {
        // Only root of the network's own user namespace may have a new one: then the host's is shown.
        Err(Error::Path { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            let sys = hosts(root, "/sys")?;
            detached::set_read_only(sys.as_fd(), true).map_err(Error::path("bind", "/sys"))?;
            Some(sys)
        }
        other => other?,
    };
    if sys.is_some() && !mounts::replaces(spec, "/sys/fs/cgroup") {
        mount_groups(root, groups, access, made)?;
    }
    Ok(Standing { proc, sys, dev, pts })
}

/// Shows what the host has there.
fn hosts(root: BorrowedFd<'_>, target: &str) -> Result<OwnedFd, Error> {
    let failed = |errno: Errno| Error::path("bind", target)(errno);
    let host = process::open_dir(Path::new(target)).map_err(failed)?;
    let copied = detached::copy(host.as_fd(), "", true).map_err(failed)?;
    attach(root, target, &copied)?;
    Ok(copied)
}

fn attach(root: BorrowedFd<'_>, target: &str, mount: &OwnedFd) -> Result<(), Error> {
    let place = place::make(root, target, Kind::Directory)?;
    detached::attach(mount.as_fd(), place.as_fd()).map_err(Error::path("mount on", target))
}

/// The same for a place in a `/dev` that has just been made and is nobody else's.
fn attach_in(dev: &OwnedFd, target: &str, mount: &OwnedFd) -> Result<(), Error> {
    let failed = |errno: Errno| Error::path("mount on", target)(errno);
    let name = target.trim_start_matches("/dev/");
    match rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let place = rustix::fs::openat(dev, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    detached::attach(mount.as_fd(), place.map_err(failed)?.as_fd()).map_err(failed)
}

fn open_groups(cgroups: &[(&'static str, PathBuf)]) -> Result<Vec<(&'static str, OwnedFd)>, Error> {
    let open = |(controller, dir): &(&'static str, PathBuf)| {
        let shown = dir.display().to_string();
        Ok((*controller, process::open_dir(dir).map_err(Error::path("open", shown))?))
    };
    cgroups.iter().map(open).collect()
}

/// Second sights of the groups' directories, for the container.
pub(super) fn groups(
    cgroups: &[(&'static str, PathBuf)],
    ready: Option<&mut Ready>,
) -> Result<Vec<(&'static str, OwnedFd)>, Error> {
    let groups = match ready {
        Some(ready) => std::mem::take(&mut ready.groups),
        None => open_groups(cgroups)?,
    };
    let copy = |(controller, dir): (&'static str, OwnedFd)| {
        let copied = detached::copy(dir.as_fd(), "", false);
        Ok((controller, copied.map_err(Error::path("bind the control groups of", controller))?))
    };
    groups.into_iter().map(copy).collect()
}

/// The container sees its own groups only: binds of their directories.
fn mount_groups(
    root: BorrowedFd<'_>,
    groups: Vec<(&'static str, OwnedFd)>,
    access: MountAttrFlags,
    made: impl FnOnce(&Wish) -> Result<OwnedFd, Errno>,
) -> Result<(), Error> {
    const TARGET: &str = "/sys/fs/cgroup";
    let failed = |errno: Errno| Error::path("mount on", TARGET)(errno);
    let Some((first, _)) = groups.first() else { return Ok(()) };
    let base = if first.is_empty() {
        None
    } else {
        let places = made(&places_of_groups()).map_err(failed)?;
        for (controller, _) in &groups {
            rustix::fs::mkdirat(&places, *controller, Mode::from_raw_mode(0o755)).map_err(failed)?;
        }
        attach(root, TARGET, &places)?;
        Some(places)
    };
    for (controller, group) in groups {
        if access == READ_ONLY {
            detached::set_read_only(group.as_fd(), false).map_err(failed)?;
        }
        match &base {
            None => attach(root, TARGET, &group)?,
            Some(base) => {
                let place = place::find_beneath(base.as_fd(), controller, OFlags::PATH)?;
                let place = place.ok_or_else(|| failed(Errno::NOENT))?;
                detached::attach(group.as_fd(), place.as_fd()).map_err(failed)?;
            }
        }
    }
    if let (Some(base), READ_ONLY) = (&base, access) {
        detached::set_read_only(base.as_fd(), false).map_err(failed)?;
    }
    Ok(())
}

/// Makes the container's terminal, shows it as `/dev/console` too and sends its other side to the shim.
pub(super) fn terminal(spec: &Spec, standing: &Standing, channel: &Channel) -> Result<OwnedFd, Error> {
    let (Some(dev), Some(pts)) = (&standing.dev, &standing.pts) else {
        return Err(Error::Spec("a terminal needs the standing /dev and /dev/pts".to_owned()));
    };
    let terminal = open_terminal(pts.as_fd(), &spec.process, channel)?;
    let failed = |errno: Errno| Error::path("mount on", "/dev/console")(errno);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dev, "console", flags, Mode::from_raw_mode(0o620)).map_err(failed)?;
    let shown = detached::copy(pts.as_fd(), &terminal.number.to_string(), false).map_err(failed)?;
    let place = place::find_beneath(dev.as_fd(), "console", OFlags::PATH)?.ok_or_else(|| failed(Errno::NOENT))?;
    detached::attach(shown.as_fd(), place.as_fd()).map_err(failed)?;
    Ok(terminal.slave)
}

/// Makes a terminal of the devpts that is mounted below `root`, and shows it as `/dev/console` if `console`.
pub(super) fn terminal_below(
    root: BorrowedFd<'_>,
    process: &Process,
    console: bool,
    channel: &Channel,
) -> Result<OwnedFd, Error> {
    let missing = || Error::Spec("a terminal needs a devpts on /dev/pts".to_owned());
    let pts = place::find(root, "/dev/pts")?.ok_or_else(missing)?;
    let terminal = open_terminal(pts.as_fd(), process, channel)?;
    if console {
        let failed = |errno: Errno| Error::path("mount on", "/dev/console")(errno);
        let shown = detached::copy(pts.as_fd(), &terminal.number.to_string(), false).map_err(failed)?;
        let place = place::make_plain(root, "/dev/console", Kind::File)?;
        detached::attach(shown.as_fd(), place.as_fd()).map_err(failed)?;
    }
    Ok(terminal.slave)
}

/// Makes a terminal in the container whose namespaces this process has joined.
pub(super) fn terminal_of_joined(process: &Process, channel: &Channel) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let pts = rustix::fs::open("/dev/pts", flags, Mode::empty()).map_err(Error::path("open", "/dev/pts"))?;
    Ok(open_terminal(pts.as_fd(), process, channel)?.slave)
}

fn open_terminal(pts: BorrowedFd<'_>, process: &Process, channel: &Channel) -> Result<pty::Pty, Error> {
    let failed = Error::step("make a terminal");
    let made = pty::create(pts).map_err(failed)?;
    if let Some(size) = process.terminal_size {
        pty::set_size(made.master.as_fd(), size.rows, size.columns).map_err(Error::step("size the terminal"))?;
    }
    channel.say(TERMINAL, "", &[made.master.as_fd()]);
    Ok(made)
}
