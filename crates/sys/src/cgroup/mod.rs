//! Control groups: one place for version 1, version 2 and both at once (cgroups(7)).
//!
//! A container's group is `strata/<id>` in every hierarchy it needs. On hosts with version 1 controllers those are used,
//! whatever else is mounted; there the empty version 2 hierarchy beside them has nothing to limit with.

mod delegated;
mod device;
mod entrance;
mod everywhere;
mod limits;
mod usage;
mod v1;
mod v2;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::user_namespace;

pub use device::{DeviceEntry, DeviceRule};
pub use entrance::Entrance;
pub use limits::{DeviceLimit, Limits};
pub use usage::Usage;

/// Where the system mounts control groups.
const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// The group above all groups of containers.
const PARENT: &str = "strata";
/// How long the kernel may take until a group whose processes have ended can be removed, or until a group is frozen.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// How this host's control groups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Only version 2.
    V2,
    /// Version 1 controllers, each in a directory of its own; perhaps an empty version 2 beside them.
    V1,
    /// None that we could use.
    None,
}

impl Layout {
    /// Looks at `/sys/fs/cgroup`.
    pub fn probe() -> Self {
        const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
        match rustix::fs::statfs(MOUNT_POINT) {
            Ok(found) if found.f_type as u64 == CGROUP2_SUPER_MAGIC => Self::V2,
            Ok(_) if v1::is_controller("memory") || v1::is_controller("freezer") => Self::V1,
            _ => Self::None,
        }
    }
}

/// A container's group in every hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    layout: Layout,
    /// One directory in version 2, one for each controller in version 1. The path's last parts are `strata/<id>`.
    dirs: Vec<(&'static str, PathBuf)>,
}

/// What could not be limited as asked: sentences for the person.
pub type Warnings = Vec<String>;

impl Cgroup {
    /// The name of a group for [`Self::create`] and [`Self::open`]: below `strata`, or below another group, which makes it
    /// an absolute path. Those of somebody who is not root are below what was delegated to them.
    pub fn name(id: &str, limits: &Limits) -> String {
        match limits.parent.as_deref().map(|parent| parent.trim_matches('/')) {
            Some(parent) if !parent.is_empty() => return format!("/{parent}/{id}"),
            _ if user_namespace::is_initial() || Layout::probe() != Layout::V2 => return id.to_owned(),
            _ => {}
        }
        match delegated::group(Path::new(MOUNT_POINT)) {
            Some(group) => format!("{group}/{PARENT}/{id}"),
            None => id.to_owned(),
        }
    }

    /// Sets other limits. What is not said stays.
    pub fn update(name: &str, limits: &Limits) -> io::Result<Warnings> {
        let mut warnings = Vec::new();
        let group = Self::open(name);
        match group.layout {
            Layout::V1 => {
                // Hierarchies that it did not need so far are joined now.
                let made = v1::create(name, limits, None, &mut warnings)?;
                let new = made.iter().filter(|(_, dir)| !group.dirs.iter().any(|(_, there)| there == dir));
                let pids = group.pids()?;
                for (_, dir) in new {
                    for pid in &pids {
                        match write(dir, "cgroup.procs", &pid.to_string()) {
                            // It has ended meanwhile.
                            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                            other => other?,
                        }
                    }
                }
            }
            Layout::V2 => {
                if let Some((_, dir)) = group.dirs.first() {
                    v2::set(dir, limits, &mut warnings)?;
                }
            }
            Layout::None => warnings.push("Your kernel has no usable control groups. Limits discarded.".to_owned()),
        }
        Ok(warnings)
    }

    /// Makes the group `strata/<name>`, sets limits and which devices may be opened (all, without rules).
    ///
    /// What the host cannot limit is left out with a warning. Without control groups nothing is made.
    pub fn create(name: &str, limits: &Limits, devices: Option<&[DeviceRule]>) -> io::Result<(Self, Warnings)> {
        let layout = Layout::probe();
        let mut warnings = Vec::new();
        let made = match layout {
            Layout::V1 => v1::create(name, limits, devices, &mut warnings),
            Layout::V2 => v2::create(Path::new(MOUNT_POINT), name, limits, devices, &mut warnings),
            Layout::None => {
                if *limits != Limits::default() {
                    warnings.push("Your kernel has no usable control groups. Limits discarded.".to_owned());
                }
                Ok(Vec::new())
            }
        };
        let dirs = match made {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let asked = Limits { pids: None, ..limits.clone() } != Limits::default();
                if asked {
                    warnings.push("Control groups are not delegated to you. Limits discarded.".to_owned());
                }
                Vec::new()
            }
            other => other?,
        };
        Ok((Self { layout, dirs }, warnings))
    }

    /// Sets limits and which devices may be opened (all, without rules) for a group that was just made without either. What
    /// the host cannot limit is left out with a warning.
    pub fn limit(&self, limits: &Limits, devices: Option<&[DeviceRule]>) -> io::Result<Warnings> {
        let mut warnings = Vec::new();
        for (controller, dir) in self.dirs() {
            match self.layout {
                Layout::V1 => v1::set(controller, dir, limits, devices, &mut warnings)?,
                Layout::V2 => v2::limit(dir, limits, devices, &mut warnings)?,
                Layout::None => {}
            }
        }
        Ok(warnings)
    }

    /// Whether a group that was made without limits has a directory in every hierarchy that `limits` need.
    pub fn has_room_for(&self, limits: &Limits) -> bool {
        self.layout != Layout::V1 || !(limits.are_about_disks() || limits.are_about_sets())
    }

    /// The group `strata/<name>` that was made before; with only those directories that exist.
    pub fn open(name: &str) -> Self {
        let layout = Layout::probe();
        let dirs = match layout {
            Layout::V1 => v1::dirs(name),
            Layout::V2 => vec![("", below(Path::new(MOUNT_POINT), name))],
            Layout::None => Vec::new(),
        };
        Self { layout, dirs: dirs.into_iter().filter(|(_, dir)| dir.is_dir()).collect() }
    }

    /// How it is mounted.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Its directories: controller (empty in version 2) and path.
    pub fn dirs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.dirs.iter().map(|(controller, dir)| (*controller, dir.as_path()))
    }

    /// For starting a process in it right away; only version 2 can.
    pub fn start_in(&self) -> Option<OwnedFd> {
        if self.layout != Layout::V2 {
            return None;
        }
        self.dirs.first().and_then(|(_, dir)| crate::process::open_dir(dir).ok())
    }

    /// Moves another process into it. The first move for a while waits 8 to 20 ms, until the kernel is sure that nobody
    /// forks: whoever can goes in by the [`entrance`](Self::entrance).
    pub fn join(&self, pid: i32) -> io::Result<()> {
        self.dirs.iter().try_for_each(|(_, dir)| write(dir, "cgroup.procs", &pid.to_string()))
    }

    /// Its processes, as far as they are visible here, lowest first.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        let best = self.dirs.iter().find(|(controller, _)| matches!(*controller, "" | "freezer" | "pids"));
        let Some((_, dir)) = best.or(self.dirs.first()) else { return Ok(Vec::new()) };
        let mut pids: Vec<i32> = match read(dir, "cgroup.procs") {
            Ok(text) => text.lines().filter_map(|line| line.parse().ok()).collect(),
            // It is gone, or was removed after it was opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV) => {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        pids.sort_unstable();
        Ok(pids)
    }

    /// Stops or continues all processes in it, and waits until they have. Fails with `Unsupported` without a freezer.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let (dir, file, values) = match self.layout {
            Layout::V1 => (self.controller("freezer"), "freezer.state", ["THAWED", "FROZEN"]),
            Layout::V2 => (self.controller(""), "cgroup.freeze", ["0", "1"]),
            Layout::None => (None, "", ["", ""]),
        };
        let dir = dir.ok_or(io::ErrorKind::Unsupported)?;
        let deadline = Instant::now() + SETTLE_MAX;
        write(dir, file, values[usize::from(frozen)])?;
        while self.is_frozen() != frozen {
            if Instant::now() > deadline {
                write(dir, file, values[0])?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            // The kernel tells nobody in version 1; writing again helps it over processes that were in the way.
            crate::clock::pause(Duration::from_micros(500));
            write(dir, file, values[usize::from(frozen)])?;
        }
        Ok(())
    }

    /// Whether all processes in it are stopped.
    pub fn is_frozen(&self) -> bool {
        let (dir, file, line) = match self.layout {
            Layout::V1 => (self.controller("freezer"), "freezer.state", "FROZEN"),
            Layout::V2 => (self.controller(""), "cgroup.events", "frozen 1"),
            Layout::None => return false,
        };
        dir.and_then(|dir| read(dir, file).ok()).is_some_and(|text| text.lines().any(|found| found == line))
    }

    /// How many of its processes were killed for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        let (dir, file) = match self.layout {
            Layout::V1 => (self.controller("memory"), "memory.oom_control"),
            Layout::V2 => (self.controller(""), "memory.events"),
            Layout::None => return 0,
        };
        let Some(text) = dir.and_then(|dir| read(dir, file).ok()) else { return 0 };
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    }

    /// Kills every process in it, also those it starts meanwhile.
    pub fn kill(&self) -> io::Result<()> {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let pids = self.pids()?;
            if pids.is_empty() || Instant::now() > deadline {
                return Ok(());
            }
            for pid in pids {
                // A process that is gone meanwhile needs nothing.
                if let Ok(process) = crate::process::open(pid)
                    && let Err(error) = crate::signal::send(process.as_fd(), crate::signal::Signal::KILL)
                {
                    tracing::debug!(pid, %error, "not killed");
                }
            }
            crate::clock::pause(Duration::from_micros(500));
        }
    }

    /// Removes it, when its processes have ended. Removing twice is fine.
    pub fn remove(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|(_, dir)| remove(dir))
    }

    /// [`Cgroup::remove`], also from hierarchies that [`Cgroup::update`] has added under its `name`.
    pub fn remove_with_added(&self, name: &str) -> io::Result<()> {
        self.remove()?;
        let added = if self.layout == Layout::V1 { v1::on_demand(name) } else { Vec::new() };
        added.iter().try_for_each(|dir| remove(dir))
    }

    fn controller(&self, name: &str) -> Option<&Path> {
        self.dirs.iter().find(|(controller, _)| *controller == name).map(|(_, dir)| dir.as_path())
    }
}

/// CPU shares 2 to 262144 of version 1 as a weight 1 to 10000 of version 2.
pub fn cpu_weight(shares: u64) -> u64 {
    v2::weight(shares)
}

/// Where a group is in a hierarchy.
fn below(root: &Path, name: &str) -> PathBuf {
    match name.strip_prefix('/') {
        Some(path) => root.join(path),
        None => root.join(PARENT).join(name),
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        match rustix::fs::rmdir(dir) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
            // The last process is reaped a moment before its group knows.
            Err(rustix::io::Errno::BUSY) if Instant::now() < deadline => {
                remove_below(dir);
                crate::clock::pause(Duration::from_micros(200));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes groups that the container made inside its own, deepest first, as far as they are empty.
fn remove_below(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_below(&entry.path());
        if let Err(error) = rustix::fs::rmdir(entry.path()) {
            tracing::debug!(%error, "a group in a container's group stays for now");
        }
    }
}

fn read(dir: &Path, file: &str) -> io::Result<String> {
    crate::kernel_file::read(dir.join(file))
}

/// Writes in one call, without making the file: what is not there the kernel does not support.
fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    write_once(open(dir, file)?.as_fd(), value)
}

fn open(dir: &Path, file: &str) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).open(dir.join(file))
}

fn write_once(file: BorrowedFd<'_>, value: &str) -> io::Result<()> {
    Ok(rustix::io::write(file, value.as_bytes()).map(drop)?)
}

/// Makes `dir`; says whether it was not there.
fn make(dir: &Path) -> io::Result<bool> {
    match rustix::fs::mkdir(dir, rustix::fs::Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
