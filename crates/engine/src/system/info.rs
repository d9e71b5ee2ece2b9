//! What is known about this engine and its host.

use strata_runtime::Status;

use crate::{Engine, Result};

/// What is known about this engine and its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// How many containers there are, by what they do.
    pub running: usize,
    /// Frozen.
    pub paused: usize,
    /// All others.
    pub stopped: usize,
    /// How many images there are.
    pub images: usize,
    /// The storage driver.
    pub driver: String,
    /// The storage drivers and why some of them do not work here.
    pub drivers: Vec<DriverState>,
    /// The root directory.
    pub root: std::path::PathBuf,
    /// The filesystem the root directory is on, such as `ext4`.
    pub filesystem: String,
    /// What happens when somebody reads a part of a layer that the disk has damaged, in words.
    pub integrity: String,
    /// Why containers cannot be limited in what they hold, if they cannot, in words.
    pub no_limit: Option<String>,
    /// Bytes free there.
    pub free_bytes: u64,
    /// The machine.
    pub host: Host,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The kernel's version.
    pub kernel: String,
    /// The kernel's word for the processor: `x86_64`.
    pub machine: String,
    /// The distribution.
    pub operating_system: String,
    /// How many processors we may use.
    pub cpus: usize,
    /// How much memory there is.
    pub memory_bytes: u64,
    /// 1 or 2; where both are mounted, the one with controllers counts.
    pub cgroup_version: u8,
}

/// Whether a storage driver works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverState {
    /// Its name.
    pub name: String,
    /// Why it does not, if so.
    pub missing: Option<String>,
}

impl Engine {
    /// Gathers what is known about this engine and its host.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn info(&self) -> Result<Info> {
        let (mut running, mut paused, mut stopped) = (0, 0, 0);
        for container in self.container_records()? {
            match self.process(&container.id).state()?.status {
                Status::Running | Status::Restarting => running += 1,
                Status::Paused => paused += 1,
                _ => stopped += 1,
            }
        }
        let snapshots = self.snapshots()?;
        let drivers = snapshots.availability()?.into_iter();
        let drivers = drivers.map(|one| DriverState { name: one.driver.to_string(), missing: one.missing }).collect();
        Ok(Info {
            running,
            paused,
            stopped,
            images: self.store().images().list()?.len(),
            driver: snapshots.driver_name().to_string(),
            drivers,
            root: self.settings().root.clone(),
            filesystem: filesystem(&self.settings().root),
            integrity: snapshots.integrity()?.to_string(),
            no_limit: snapshots.no_limit()?,
            free_bytes: self.free_bytes()?,
            host: host(),
        })
    }
}

fn host() -> Host {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Host {
        name: text(uname.nodename()),
        kernel: text(uname.release()),
        machine: text(uname.machine()),
        operating_system: operating_system(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory_bytes(),
        cgroup_version: if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { 2 } else { 1 },
    }
}

/// The name in os-release(5).
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").or_else(|_| std::fs::read_to_string("/usr/lib/os-release"));
    let text = text.unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    kilobytes.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The name of the filesystem that holds `path`.
fn filesystem(path: &std::path::Path) -> String {
    let Ok(stat) = rustix::fs::statfs(path) else { return "unknown".to_owned() };
    // linux/magic.h
    let name = match stat.f_type {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0xf2f5_2010 => "f2fs",
        other => return format!("{other:#x}"),
    };
    name.to_owned()
}
