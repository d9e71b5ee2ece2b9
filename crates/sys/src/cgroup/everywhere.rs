//! Groups of other people's choosing: by path, in every hierarchy that is mounted.

use std::io;
use std::path::{Path, PathBuf};

use super::{Cgroup, DeviceEntry, Layout, MOUNT_POINT, device, v1, v2, write};

/// Hierarchies of version 1 by the directories on which they are mounted.
const HIERARCHIES: [&str; 16] = [
    "memory",
    "cpu",
    "cpuacct",
    "cpu,cpuacct",
    "cpuset",
    "pids",
    "devices",
    "freezer",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "net_cls,net_prio",
    "perf_event",
    "rdma",
    "systemd",
];

impl Cgroup {
    /// Makes the group at the absolute path `path` in every hierarchy, and those above it. What is there already stays.
    pub fn create_everywhere(path: &str) -> io::Result<Self> {
        let group = Self::everywhere(path, |_| true);
        match group.layout {
            Layout::V1 => {
                for (controller, dir) in &group.dirs {
                    v1::make_group(dir, controller)?;
                }
            }
            Layout::V2 => {
                if let Some((_, dir)) = group.dirs.first() {
                    v2::make_all(Path::new(MOUNT_POINT), dir)?;
                }
            }
            Layout::None => {}
        }
        Ok(group)
    }

    /// No group at all: nothing is limited, and nobody can be frozen.
    pub fn none() -> Self {
        Self { layout: Layout::None, dirs: Vec::new() }
    }

    /// The group at the absolute path `path`, which somebody else is going to make.
    pub fn expect_everywhere(path: &str) -> Self {
        Self::everywhere(path, |_| true)
    }

    /// The group at the absolute path `path` in those hierarchies where it is.
    pub fn open_everywhere(path: &str) -> Self {
        Self::everywhere(path, Path::is_dir)
    }

    fn everywhere(path: &str, wanted: impl Fn(&Path) -> bool) -> Self {
        let layout = Layout::probe();
        let root = Path::new(MOUNT_POINT);
        let below = path.trim_start_matches('/');
        let dirs: Vec<(&'static str, PathBuf)> = match layout {
            Layout::V1 => {
                let mounted = HIERARCHIES.into_iter().filter(|name| !root.join(name).is_symlink());
                let mounted = mounted.filter(|name| v1::is_controller(name));
                mounted.map(|name| (name, root.join(name).join(below))).collect()
            }
            Layout::V2 => vec![("", root.join(below))],
            Layout::None => Vec::new(),
        };
        Self { layout, dirs: dirs.into_iter().filter(|(_, dir)| wanted(dir)).collect() }
    }

    /// Whether there is a directory for it anywhere.
    pub fn exists(&self) -> bool {
        self.dirs.iter().any(|(_, dir)| dir.is_dir())
    }

    /// Writes into a file of its: in version 1 that of the controller's hierarchy, which is part of the file's name. Fails
    /// with `NotFound` for what the kernel does not have.
    pub fn set(&self, file: &str, value: &str) -> io::Result<()> {
        write(self.dir_of(file).ok_or(io::ErrorKind::NotFound)?, file, value)
    }

    /// Reads a file of its.
    pub fn get(&self, file: &str) -> io::Result<String> {
        super::read(self.dir_of(file).ok_or(io::ErrorKind::NotFound)?, file)
    }

    fn dir_of(&self, file: &str) -> Option<&Path> {
        if self.layout == Layout::V2 {
            return self.controller("");
        }
        let wanted = file.split_once('.').map_or(file, |(controller, _)| controller);
        let has = |name: &str| name.split(',').any(|one| one == wanted);
        let found = self.dirs.iter().find(|(name, _)| has(name));
        // Controllers that are mounted together have links.
        let linked = || Path::new(MOUNT_POINT).join(wanted).canonicalize().ok();
        let found =
            found.or_else(|| linked().and_then(|base| self.dirs.iter().find(|(_, dir)| dir.starts_with(&base))));
        found.map(|(_, dir)| dir.as_path())
    }

    /// Says which devices may be opened: the last entry that names one decides, and what none names may not.
    pub fn set_devices(&self, entries: &[DeviceEntry]) -> io::Result<()> {
        match self.layout {
            Layout::V1 => {
                let Some(dir) = self.controller("devices") else { return Ok(()) };
                for entry in entries {
                    let file = if entry.allow { "devices.allow" } else { "devices.deny" };
                    entry.lines().iter().try_for_each(|line| write(dir, file, line))?;
                }
                Ok(())
            }
            Layout::V2 => self.controller("").map_or(Ok(()), |dir| device::attach_entries(dir, entries)),
            Layout::None => Ok(()),
        }
    }

    /// Its processes, and those of the groups inside it, as far as they are visible here, lowest first.
    pub fn all_pids(&self) -> io::Result<Vec<i32>> {
        let best = self.dirs.iter().find(|(controller, _)| matches!(*controller, "" | "freezer" | "pids"));
        let Some((_, dir)) = best.or(self.dirs.first()) else { return Ok(Vec::new()) };
        let mut pids = Vec::new();
        collect(dir, &mut pids)?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// Removes it and the groups inside it, when their processes have ended.
    pub fn remove_all(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|(_, dir)| {
            super::remove_below(dir);
            super::remove(dir)
        })
    }
}

fn collect(dir: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let text = match super::read(dir, "cgroup.procs") {
        // It was removed meanwhile, or has threads only.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => String::new(),
        text => text?,
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    let below = std::fs::read_dir(dir)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.map(|entry| entry.path()).try_for_each(|dir| collect(&dir, pids))
}
