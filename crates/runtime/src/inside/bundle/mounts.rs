//! The mounts of a bundle, in their order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_sys::detached::{self, Propagation};
use strata_types::runtime_spec::{Config, Mount};

use super::super::options::Options;
use super::super::place;
use super::super::standing::Standing;
use crate::Error;

/// What is mounted, while it is.
pub(super) struct Mounting<'a> {
    pub(super) root: BorrowedFd<'a>,
    /// The container's own control groups.
    pub(super) groups: Vec<(&'static str, OwnedFd)>,
    /// The bundle, from which relative sources are seen.
    pub(super) bundle: &'a Path,
    /// What SELinux calls the files of what is mounted.
    pub(super) label: Option<&'a str>,
    /// It has a user namespace: not every filesystem can be made anew.
    pub(super) mapped: bool,
}

/// Whether this is something of the host's.
pub(crate) fn is_bind(mount: &Mount, options: &Options) -> bool {
    options.bind.is_some() || mount.kind == "bind"
}

/// Where a bind is from.
pub(crate) fn source(mount: &Mount, bundle: &Path) -> PathBuf {
    bundle.join(&mount.source)
}

/// Opens the source of a bind as a mount that is nowhere yet.
pub(crate) fn open_bind(mount: &Mount, options: &Options, bundle: &Path) -> Result<OwnedFd, Error> {
    let path = source(mount, bundle);
    let shown = || path.display().to_string();
    let opened = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(Error::path("open", shown()))?;
    let recursive = options.bind.unwrap_or(true);
    detached::copy(opened.as_fd(), "", recursive).map_err(Error::path("bind", shown()))
}

/// The control groups as mounts that are nowhere yet.
pub(super) fn open_groups(dirs: &[(&'static str, PathBuf)]) -> Result<Vec<(&'static str, OwnedFd)>, Error> {
    let open = |(controller, dir): &(&'static str, PathBuf)| {
        let shown = dir.display().to_string();
        let opened = strata_sys::process::open_dir(dir).map_err(Error::path("open", shown.clone()))?;
        Ok((*controller, detached::copy(opened.as_fd(), "", false).map_err(Error::path("bind", shown))?))
    };
    dirs.iter().map(open).collect()
}

impl Mounting<'_> {
    /// Mounts all. `sources` are the binds that were opened before, in the order of `config.mounts`.
    pub(super) fn all(&mut self, config: &Config, sources: Vec<Option<OwnedFd>>) -> Result<Standing, Error> {
        let mut standing = Standing::default();
        let mut sources = sources.into_iter();
        for mount in &config.mounts {
            let mut options = Options::parse(&mount.options);
            let opened = sources.next().flatten();
            if mount.destination.trim_end_matches('/') == "/dev" {
                // Its nodes are still to be made.
                options.set.remove(MountAttrFlags::MOUNT_ATTR_RDONLY);
            }
            let mounted = self.one(mount, &options, opened)?;
            match (mount.destination.trim_end_matches('/'), mount.kind.as_str()) {
                ("/proc", "proc") => standing.proc = mounted,
                ("/sys", "sysfs") => standing.sys = mounted,
                ("/dev", _) => standing.dev = mounted,
                ("/dev/pts", "devpts") => standing.pts = mounted,
                _ => {}
            }
        }
        Ok(standing)
    }

    fn one(&mut self, mount: &Mount, options: &Options, opened: Option<OwnedFd>) -> Result<Option<OwnedFd>, Error> {
        if matches!(mount.kind.as_str(), "cgroup" | "cgroup2") && !is_bind(mount, options) {
            return self.cgroups(mount, options).map(|()| None);
        }
        let made = match opened {
            Some(opened) => opened,
            None if is_bind(mount, options) => open_bind(mount, options, self.bundle)?,
            None => self.filesystem(mount, options)?,
        };
        self.put(&made, mount, options)?;
        Ok(Some(made))
    }

    /// Attaches a mount that is nowhere yet, with all its options.
    fn put(&self, made: &OwnedFd, mount: &Mount, options: &Options) -> Result<(), Error> {
        let failed = || Error::path("set the options of", &mount.destination);
        if !options.set_below.is_empty() || !options.clear_below.is_empty() {
            detached::change(made.as_fd(), options.set_below, options.clear_below, true).map_err(failed())?;
        }
        if !options.set.is_empty() || !options.clear.is_empty() {
            detached::change(made.as_fd(), options.set, options.clear, false).map_err(failed())?;
        }
        let is_bind = is_bind(mount, options);
        let place = place::make_plain(self.root, &mount.destination, place::kind(made.as_fd())?)?;
        if options.copy_up {
            super::copy_up::copy(place.as_fd(), made.as_fd(), &mount.destination)?;
        }
        let (how, below) = options.propagation.unwrap_or((Propagation::Private, true));
        detached::attach(made.as_fd(), place.as_fd()).map_err(Error::path("mount on", &mount.destination))?;
        if is_bind || options.propagation.is_some() {
            let failed = Error::path("set the propagation of", &mount.destination);
            detached::propagate(made.as_fd(), how, below).map_err(failed)?;
        }
        Ok(())
    }

    fn filesystem(&self, mount: &Mount, options: &Options) -> Result<OwnedFd, Error> {
        let kind = mount.kind.as_str();
        let failed = || Error::path("make a filesystem for", &mount.destination);
        let source = format!("source={}", if mount.source.is_empty() { kind } else { &mount.source });
        let label = self.label.filter(|_| !matches!(kind, "proc" | "sysfs")).map(|label| format!("context={label}"));
        let more = options.data.iter().chain(&label).map(String::as_str);
        let data: Vec<&str> = std::iter::once(source.as_str()).chain(more).collect();
        match detached::filesystem(kind, &data, MountAttrFlags::empty()) {
            // Somebody of a user namespace may not have a new one of what is not the namespace's own.
            Err(Errno::PERM | Errno::BUSY) if matches!(kind, "proc" | "sysfs") => {
                let host = if kind == "proc" { "/proc" } else { "/sys" };
                let host = strata_sys::process::open_dir(Path::new(host)).map_err(failed())?;
                detached::copy(host.as_fd(), "", true).map_err(failed())
            }
            // Nobody in the user namespace is group 5.
            Err(Errno::INVAL) if kind == "devpts" && self.mapped => {
                let data: Vec<&str> = data.into_iter().filter(|option| !option.starts_with("gid=")).collect();
                detached::filesystem(kind, &data, MountAttrFlags::empty()).map_err(failed())
            }
            made => made.map_err(failed()),
        }
    }

    /// The container sees its own groups only.
    fn cgroups(&mut self, mount: &Mount, options: &Options) -> Result<(), Error> {
        let target = &mount.destination;
        let failed = || Error::path("mount on", target);
        let groups = std::mem::take(&mut self.groups);
        let Some((first, _)) = groups.first() else { return Ok(()) };
        if first.is_empty() {
            let (_, group) = groups.into_iter().next().ok_or_else(|| failed()(Errno::NOENT))?;
            return self.put(&group, mount, &Options { data: Vec::new(), ..options.clone() });
        }
        let base = detached::filesystem("tmpfs", &["mode=755", "source=cgroup"], MountAttrFlags::empty());
        let base = base.map_err(failed())?;
        for (controller, _) in &groups {
            rustix::fs::mkdirat(&base, *controller, Mode::from_raw_mode(0o755)).map_err(failed())?;
        }
        for (name, target) in linked_controllers() {
            rustix::fs::symlinkat(target, &base, name).map_err(failed())?;
        }
        let attached =
            Options { set: options.set - MountAttrFlags::MOUNT_ATTR_RDONLY, data: Vec::new(), ..options.clone() };
        self.put(&base, mount, &attached)?;
        for (controller, group) in &groups {
            detached::change(group.as_fd(), options.set, options.clear, false).map_err(failed())?;
            let place = place::find_beneath(base.as_fd(), controller, OFlags::PATH)?;
            detached::attach(group.as_fd(), place.ok_or_else(|| failed()(Errno::NOENT))?.as_fd()).map_err(failed())?;
        }
        detached::change(base.as_fd(), options.set, options.clear, false).map_err(failed())
    }
}

/// Controllers that are mounted together have links to one place.
fn linked_controllers() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().into_string().ok()?, target))
    });
    links.filter(|(_, target)| target.components().count() == 1).collect()
}

/// Whether `/dev` is something of the host's, which is left as it is.
pub(super) fn dev_is_the_hosts(config: &Config) -> bool {
    let at_dev = |mount: &&Mount| mount.destination.trim_end_matches('/') == "/dev";
    config.mounts.iter().filter(at_dev).any(|mount| is_bind(mount, &Options::parse(&mount.options)))
}

/// Makes `/dev` read-only if that was asked for.
pub(super) fn finish_dev(config: &Config, standing: &Standing) -> Result<(), Error> {
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let at_dev = |mount: &&Mount| mount.destination.trim_end_matches('/') == "/dev";
    let asked = config.mounts.iter().rfind(at_dev).map(|mount| Options::parse(&mount.options).set.contains(read_only));
    match (&standing.dev, asked) {
        (Some(dev), Some(true)) => {
            detached::set_read_only(dev.as_fd(), false).map_err(Error::path("make read-only", "/dev"))
        }
        _ => Ok(()),
    }
}

/// Opens a file of the host's as a mount, if it is a device.
pub(super) fn open_device(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let node = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let stat = rustix::fs::statat(&node, "", AtFlags::EMPTY_PATH)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice => detached::copy(node.as_fd(), "", false),
        _ => Err(Errno::NODEV),
    }
}
