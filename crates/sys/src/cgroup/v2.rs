//! Version 2: one hierarchy for all controllers.

use std::io;
use std::path::{Path, PathBuf};

use strata_types::plain;

use super::{DeviceRule, Limits, Warnings, below, device, make, read, write};
use crate::user_namespace;

const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "cpuset", "io"];

pub(super) fn create(
    root: &Path,
    name: &str,
    limits: &Limits,
    devices: Option<&[DeviceRule]>,
    warnings: &mut Warnings,
) -> io::Result<Vec<(&'static str, PathBuf)>> {
    let dir = below(root, name);
    make_above(root, &dir, warnings)?;
    make(&dir)?;
    limit(&dir, limits, devices, warnings)?;
    Ok(vec![("", dir)])
}

/// Sets limits of a new group, and which devices may be opened in it.
pub(super) fn limit(
    dir: &Path,
    limits: &Limits,
    devices: Option<&[DeviceRule]>,
    warnings: &mut Warnings,
) -> io::Result<()> {
    set(dir, limits, warnings)?;
    match devices.map(|rules| device::attach(dir, rules)) {
        // In a user namespace nobody can make devices, so there are only those that the container was given.
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied && !user_namespace::is_initial() => Ok(()),
        attached => attached.unwrap_or(Ok(())),
    }
}

fn make_above(root: &Path, dir: &Path, warnings: &mut Warnings) -> io::Result<()> {
    let above = dir.ancestors().skip(1).take_while(|above| *above != root).collect::<Vec<_>>();
    for parent in above.iter().rev() {
        if make(parent)? {
            enable(parent.parent().unwrap_or(root), warnings);
            enable(parent, warnings);
        }
    }
    Ok(())
}

/// Makes `dir` and what is missing above it, and lets it use all controllers there are.
pub(super) fn make_all(root: &Path, dir: &Path) -> io::Result<()> {
    let mut warnings = Warnings::new();
    make_above(root, dir, &mut warnings)?;
    if let Some(parent) = dir.parent() {
        enable(parent, &mut warnings);
    }
    for warning in warnings {
        tracing::debug!("{warning}");
    }
    make(dir).map(drop)
}

/// Sets limits. What the host cannot limit is left out with a warning.
pub(super) fn set(dir: &Path, limits: &Limits, warnings: &mut Warnings) -> io::Result<()> {
    for (file, value) in values(limits) {
        match write(dir, file, &value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                warnings.push(format!("Your kernel does not support `{file}` here. Limitation discarded."));
            }
            other => other?,
        }
    }
    let lost = [
        (limits.oom_kill_disable, "OomKillDisable. OomKillDisable discarded."),
        (limits.memory_swappiness.is_some(), "memory swappiness capabilities. Memory swappiness discarded."),
        (limits.cpu_realtime_runtime_us.is_some(), "CPU real-time scheduler. Limitation discarded."),
    ];
    let lost = lost.into_iter().filter(|(asked, _)| *asked);
    warnings.extend(lost.map(|(_, what)| format!("Your kernel does not support {what}")));
    Ok(())
}

/// Lets the groups below `dir` use the controllers that `dir` has. Where processes are in the way (a group that is not
/// the first of the host), limits will be missing and are warned about one by one.
fn enable(dir: &Path, warnings: &mut Warnings) {
    let Ok(there) = read(dir, "cgroup.controllers") else { return };
    let there: Vec<&str> = there.split_whitespace().collect();
    for controller in CONTROLLERS.iter().filter(|controller| there.contains(controller)) {
        if let Err(error) = write(dir, "cgroup.subtree_control", &format!("+{controller}")) {
            warnings.push(format!("cannot use the `{controller}` controller in {}: {}", dir.display(), plain(&error)));
        }
    }
}

/// Which files get which values.
fn values(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut values = Vec::new();
    let mut set = |file, value: Option<String>| values.extend(value.map(|value| (file, value)));
    set("memory.max", limits.memory_bytes.map(|limit| limit.to_string()));
    set("memory.swap.max", swap(limits));
    set("memory.low", limits.memory_reservation_bytes.map(|limit| limit.to_string()));
    set("cpu.weight", limits.cpu_shares.map(|shares| weight(shares).to_string()));
    if limits.cpu_quota_us.is_some() || limits.cpu_period_us.is_some() {
        let quota = limits.cpu_quota_us.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
        set("cpu.max", Some(format!("{quota} {}", limits.cpu_period_us.unwrap_or(100_000))));
    }
    set("cpuset.cpus", limits.cpuset_cpus.clone());
    set("cpuset.mems", limits.cpuset_mems.clone());
    let pids = |limit: i64| if limit > 0 { limit.to_string() } else { "max".to_owned() };
    set("pids.max", limits.pids.map(pids));
    let io_weight = |weight: u16| 1 + (u64::from(weight.max(10)) - 10) * 9999 / 990;
    set("io.weight", limits.blkio_weight.map(|weight| io_weight(weight).to_string()));
    for limit in &limits.blkio_device_weights {
        let weight = io_weight(u16::try_from(limit.value).unwrap_or(u16::MAX));
        set("io.weight", Some(format!("{}:{} {weight}", limit.major, limit.minor)));
    }
    for (word, list) in [
        ("rbps", &limits.read_bytes_per_s),
        ("wbps", &limits.write_bytes_per_s),
        ("riops", &limits.reads_per_s),
        ("wiops", &limits.writes_per_s),
    ] {
        for limit in list {
            set("io.max", Some(format!("{}:{} {word}={}", limit.major, limit.minor, limit.value)));
        }
    }
    values
}

/// Swap alone: version 1 counts it together with memory.
fn swap(limits: &Limits) -> Option<String> {
    let memory = limits.memory_bytes?;
    Some(match limits.memory_swap_bytes {
        None => memory.to_string(),
        Some(both) if both < 0 => "max".to_owned(),
        Some(both) => (both as u64).saturating_sub(memory).to_string(),
    })
}

/// Shares 2 to 262144 become weights 1 to 10000, as in OCI runtimes.
pub(super) fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::super::DeviceLimit;
    use super::*;

    #[test]
    fn version_1_values_become_version_2_values() {
        let limits = Limits {
            memory_bytes: Some(1000),
            memory_swap_bytes: Some(1500),
            cpu_shares: Some(1024),
            cpu_quota_us: Some(50_000),
            pids: Some(-1),
            blkio_weight: Some(1000),
            read_bytes_per_s: vec![DeviceLimit { major: 8, minor: 16, value: 1 << 20 }],
            ..Limits::default()
        };
        let expected = [
            ("memory.max", "1000"),
            ("memory.swap.max", "500"),
            ("cpu.weight", "39"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "max"),
            ("io.weight", "10000"),
            ("io.max", "8:16 rbps=1048576"),
        ];
        assert_eq!(values(&limits), expected.map(|(file, value)| (file, value.to_owned())));
    }
}
