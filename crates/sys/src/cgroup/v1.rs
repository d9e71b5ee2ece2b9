//! Version 1: one hierarchy for each controller.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::{DeviceRule, Limits, MOUNT_POINT, Warnings, below, make, open, read, write, write_once};

/// What every container gets: limits, and what pause, top and stats need.
const ALWAYS: [&str; 6] = ["memory", "cpu", "cpuacct", "pids", "devices", "freezer"];
/// What only those get who ask: nothing else needs them.
const ON_DEMAND: [&str; 2] = ["blkio", "cpuset"];

/// Whether a controller is mounted where one expects it.
pub(super) fn is_controller(name: &str) -> bool {
    const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;
    rustix::fs::statfs(Path::new(MOUNT_POINT).join(name)).is_ok_and(|found| found.f_type as u64 == CGROUP_SUPER_MAGIC)
}

/// Where the group `name` is or would be. Controllers that share a hierarchy are symlinks to one directory: it counts
/// once.
pub(super) fn dirs(name: &str) -> Vec<(&'static str, PathBuf)> {
    let group = |controller: &'static str| (controller, below(&Path::new(MOUNT_POINT).join(controller), name));
    let shared = Path::new(MOUNT_POINT).join("cpuacct").is_symlink();
    ALWAYS.into_iter().chain(ON_DEMAND).filter(|controller| *controller != "cpuacct" || !shared).map(group).collect()
}

/// Where it is or would be in those hierarchies that only some groups need.
pub(super) fn on_demand(name: &str) -> Vec<PathBuf> {
    ON_DEMAND.iter().map(|controller| below(&Path::new(MOUNT_POINT).join(controller), name)).collect()
}

pub(super) fn create(
    name: &str,
    limits: &Limits,
    devices: Option<&[DeviceRule]>,
    warnings: &mut Warnings,
) -> io::Result<Vec<(&'static str, PathBuf)>> {
    let wanted = |controller: &str| match controller {
        "blkio" => limits.are_about_disks(),
        "cpuset" => limits.are_about_sets(),
        _ => true,
    };
    let mut made = Vec::new();
    for (controller, dir) in dirs(name).into_iter().filter(|(controller, _)| wanted(controller)) {
        if make_group(&dir, controller)? {
            set(controller, &dir, limits, devices, warnings)?;
            made.push((controller, dir));
        }
    }
    Ok(made)
}

/// Makes a group, its parent too if need be; says no if the controller is not mounted.
pub(super) fn make_group(dir: &Path, controller: &str) -> io::Result<bool> {
    let made = match make(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !is_controller(controller) {
                return Ok(false);
            }
            let root = Path::new(MOUNT_POINT).join(controller);
            let missing = dir.ancestors().skip(1).take_while(|above| **above != root && !above.is_dir());
            for above in missing.collect::<Vec<_>>().into_iter().rev() {
                if make(above)? && controller == "cpuset" {
                    inherit_cpuset(above)?;
                }
            }
            make(dir)
        }
        other => other,
    }?;
    if made && controller == "cpuset" {
        inherit_cpuset(dir)?;
    }
    Ok(true)
}

/// A new cpuset is empty, and nothing can run in it: it gets what its parent has.
fn inherit_cpuset(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().unwrap_or(dir);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        write(dir, file, read(parent, file)?.trim())?;
    }
    Ok(())
}

/// Sets limits of one controller.
pub(super) fn set(
    controller: &str,
    dir: &Path,
    limits: &Limits,
    devices: Option<&[DeviceRule]>,
    warnings: &mut Warnings,
) -> io::Result<()> {
    match controller {
        "memory" => memory(dir, limits, warnings),
        "cpu" => {
            optional(dir, "cpu.shares", limits.cpu_shares.map(|shares| shares as i64))?;
            optional(dir, "cpu.cfs_period_us", limits.cpu_period_us.map(|period| period as i64))?;
            optional(dir, "cpu.cfs_quota_us", limits.cpu_quota_us)?;
            realtime(dir, limits, warnings)
        }
        "pids" => match limits.pids {
            Some(limit) if limit > 0 => write(dir, "pids.max", &limit.to_string()),
            Some(_) => write(dir, "pids.max", "max"),
            None => Ok(()),
        },
        "devices" => match devices {
            Some(rules) => {
                write(dir, "devices.deny", "a")?;
                let allow = open(dir, "devices.allow")?;
                rules.iter().try_for_each(|rule| write_once(allow.as_fd(), &rule.to_string()))
            }
            None => Ok(()),
        },
        "blkio" => disks(dir, limits, warnings),
        "cpuset" => {
            for (file, list) in [("cpuset.cpus", &limits.cpuset_cpus), ("cpuset.mems", &limits.cpuset_mems)] {
                if let Some(list) = list {
                    write(dir, file, list)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn memory(dir: &Path, limits: &Limits, warnings: &mut Warnings) -> io::Result<()> {
    if let Some(limit) = limits.memory_bytes {
        // As Docker: as much swap again as memory, if nothing else is said.
        let both = limits.memory_swap_bytes.unwrap_or_else(|| i64::try_from(limit).map_or(-1, |l| l.saturating_mul(2)));
        let memory = || write(dir, "memory.limit_in_bytes", &limit.to_string());
        let swap = || write(dir, "memory.memsw.limit_in_bytes", &both.to_string());
        // Memory may never exceed both together: which comes first depends on whether they grow or shrink.
        let swapped = memory().and_then(|()| swap()).or_else(|_| swap().and_then(|()| memory()));
        match swapped {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                memory()?;
                if limits.memory_swap_bytes.is_some_and(|swap| swap >= 0) {
                    let sentence = "Your kernel does not support swap limit capabilities. Limitation discarded.";
                    warnings.push(sentence.to_owned());
                }
            }
            other => other?,
        }
    } else if let Some(both) = limits.memory_swap_bytes {
        optional(dir, "memory.memsw.limit_in_bytes", Some(both))?;
    }
    if let Some(swappiness) = limits.memory_swappiness
        && write(dir, "memory.swappiness", &swappiness.to_string()).is_err()
    {
        warnings.push(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness \
             discarded."
                .to_owned(),
        );
    }
    optional(dir, "memory.soft_limit_in_bytes", limits.memory_reservation_bytes.map(|limit| limit as i64))?;
    if limits.oom_kill_disable {
        write(dir, "memory.oom_control", "1")?;
    }
    Ok(())
}

fn realtime(dir: &Path, limits: &Limits, warnings: &mut Warnings) -> io::Result<()> {
    let period = limits.cpu_realtime_period_us.and_then(|period| i64::try_from(period).ok());
    for (file, value) in [("cpu.rt_period_us", period), ("cpu.rt_runtime_us", limits.cpu_realtime_runtime_us)] {
        match optional(dir, file, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                warnings.push("Your kernel does not support CPU real-time scheduler. Limitation discarded.".to_owned());
            }
            other => other?,
        }
    }
    Ok(())
}

fn disks(dir: &Path, limits: &Limits, warnings: &mut Warnings) -> io::Result<()> {
    if let Some(weight) = limits.blkio_weight.map(|weight| weight.to_string())
        && write(dir, "blkio.weight", &weight).or_else(|_| write(dir, "blkio.bfq.weight", &weight)).is_err()
    {
        warnings.push("Your kernel does not support Block I/O weight. Weight discarded.".to_owned());
    }
    for weight in limits.blkio_device_weights.iter().map(ToString::to_string) {
        let set =
            write(dir, "blkio.weight_device", &weight).or_else(|_| write(dir, "blkio.bfq.weight_device", &weight));
        if set.is_err() {
            let sentence = "Your kernel does not support Block I/O weight_device. Weight-device discarded.";
            warnings.push(sentence.to_owned());
        }
    }
    for (file, list, what) in [
        ("blkio.throttle.read_bps_device", &limits.read_bytes_per_s, "read limit in bytes per second"),
        ("blkio.throttle.write_bps_device", &limits.write_bytes_per_s, "write limit in bytes per second"),
        ("blkio.throttle.read_iops_device", &limits.reads_per_s, "read limit in IO per second"),
        ("blkio.throttle.write_iops_device", &limits.writes_per_s, "write limit in IO per second"),
    ] {
        for limit in list {
            match write(dir, file, &limit.to_string()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    warnings.push(format!("Your kernel does not support Block I/O {what}. Limitation discarded."));
                }
                other => other?,
            }
        }
    }
    Ok(())
}

fn optional(dir: &Path, file: &str, value: Option<i64>) -> io::Result<()> {
    value.map_or(Ok(()), |value| write(dir, file, &value.to_string()))
}
