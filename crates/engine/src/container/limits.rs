//! What a container may use at most: from Docker's words to control groups, when it is made and later.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use strata_runtime::spec::{DeviceLimit, Limits};

use crate::container::{ContainerError, DeviceRate, HostConfig, Known, Resources, RestartPolicy, check, cpuset, life};
use crate::{Engine, Result, events};

/// Processes and threads of a container that does not say: far more than programs have, far fewer than a machine can.
const PIDS_MAX: i64 = 4096;

/// The limits that `--memory` and its like mean.
pub(super) fn of(host: &HostConfig) -> Result<Limits> {
    let resources = &host.resources;
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let (period, quota) = match resources.nano_cpus {
        0 => (positive(resources.cpu_period), (resources.cpu_quota != 0).then_some(resources.cpu_quota)),
        // `--cpus 1.5` is 150 ms of each 100 ms.
        nano => (Some(100_000), Some(nano / 10_000)),
    };
    let rates = |list: &[DeviceRate]| list.iter().map(|rate| device(&rate.path, rate.rate)).collect::<Result<_>>();
    let weights = resources.blkio_weight_device.iter().map(|weight| device(&weight.path, weight.weight.into()));
    Ok(Limits {
        parent: text(&resources.cgroup_parent),
        memory_bytes: positive(resources.memory),
        memory_swap_bytes: (resources.memory_swap != 0).then_some(resources.memory_swap),
        memory_reservation_bytes: positive(resources.memory_reservation),
        memory_swappiness: resources.memory_swappiness.and_then(|swappiness| u64::try_from(swappiness).ok()),
        oom_kill_disable: resources.oom_kill_disable,
        cpu_shares: positive(resources.cpu_shares),
        cpu_quota_us: quota,
        cpu_period_us: period,
        cpu_realtime_period_us: positive(resources.cpu_realtime_period),
        cpu_realtime_runtime_us: (resources.cpu_realtime_runtime != 0).then_some(resources.cpu_realtime_runtime),
        cpuset_cpus: text(&resources.cpuset_cpus),
        cpuset_mems: text(&resources.cpuset_mems),
        // A container that asks for nothing does not take the host with it when it forks without end.
        pids: resources.pids_limit.or((!host.privileged).then_some(PIDS_MAX)),
        blkio_weight: (resources.blkio_weight != 0).then_some(resources.blkio_weight),
        blkio_device_weights: weights.collect::<Result<_>>()?,
        read_bytes_per_s: rates(&resources.blkio_device_read_bps)?,
        write_bytes_per_s: rates(&resources.blkio_device_write_bps)?,
        reads_per_s: rates(&resources.blkio_device_read_iops)?,
        writes_per_s: rates(&resources.blkio_device_write_iops)?,
    })
}

fn device(path: &str, value: u64) -> Result<DeviceLimit> {
    let found = std::fs::metadata(path).map_err(ContainerError::step(format!("cannot find block device {path}")))?;
    if !found.file_type().is_block_device() {
        return Err(ContainerError::invalid(format!("{path} is not a block device")));
    }
    let number = found.rdev();
    Ok(DeviceLimit { major: rustix::fs::major(number), minor: rustix::fs::minor(number), value })
}

/// Other limits for a container; what is 0, empty or none stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The limits.
    pub resources: Resources,
    /// The restart policy.
    pub restart_policy: Option<RestartPolicy>,
}

impl Change {
    /// Refuses what no container can be given, whatever it has.
    ///
    /// # Errors
    /// When a value is impossible or contradicts another.
    pub fn check(&self) -> Result<()> {
        let Self { mut resources, restart_policy } = self.clone();
        if resources.memory == 0 {
            // It goes with the limit that is there.
            resources.memory_swap = 0;
        }
        check::memory(&mut resources)?;
        check::cpus(&resources)?;
        cpuset::check(&resources)?;
        let Some(restart_policy) = restart_policy else { return Ok(()) };
        life::check_restart(&HostConfig { restart_policy, ..HostConfig::default() })
    }
}

impl Engine {
    /// Gives a container other limits, or another restart policy, also while it runs; sentences for the person.
    ///
    /// # Errors
    /// When the limits contradict each other or those it has, or the kernel refuses them.
    pub fn update_container(&self, known: &Known, change: &Change) -> Result<Vec<String>> {
        let _changing = self.store().lock_container(known.id())?;
        let mut document = known.document.clone();
        merge(&mut document.host.resources, &change.resources)?;
        check::memory(&mut document.host.resources)?;
        check::cpus(&document.host.resources)?;
        cpuset::check(&document.host.resources)?;
        if change.resources.pids_limit.is_some_and(|limit| limit <= 0) {
            document.host.resources.pids_limit = Some(-1);
        }
        if let Some(policy) = &change.restart_policy {
            if document.host.auto_remove && policy.name != "no" {
                let sentence = "Restart policy cannot be updated because AutoRemove is enabled for the container";
                return Err(ContainerError::invalid(sentence));
            }
            document.host.restart_policy = policy.clone();
            life::check_restart(&document.host)?;
        }
        let process = self.process(known.id());
        let status = process.state()?.status;
        let mut warnings = Vec::new();
        let limits = of(&document.host)?;
        if status.is_alive() {
            warnings = process.update(&limits)?;
        }
        if status.is_up() && change.restart_policy.is_some() {
            process.set_restart(life::restart(&document.host.restart_policy))?;
        }
        let updated = self.store().containers().update(known.id(), &document.print(), known.durability())?;
        if !updated {
            return Err(ContainerError::NotFound(known.record.name.clone()).into());
        }
        self.record_event(events::of(known, "update"));
        Ok(warnings)
    }
}

/// What is said takes the place of what was, by Docker's rules.
fn merge(present: &mut Resources, wanted: &Resources) -> Result<()> {
    let conflict = |sentence: &str| Err(ContainerError::invalid(sentence));
    for (set, asked, sentence) in [
        (
            present.nano_cpus > 0,
            wanted.cpu_period > 0,
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            present.nano_cpus > 0,
            wanted.cpu_quota > 0,
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        (
            present.cpu_period > 0,
            wanted.nano_cpus > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            present.cpu_quota > 0,
            wanted.nano_cpus > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
    ] {
        if set && asked {
            return conflict(sentence);
        }
    }
    if wanted.memory != 0 && wanted.memory > present.memory_swap && wanted.memory_swap == 0 {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    let or = |present: &mut i64, wanted: i64| {
        if wanted != 0 {
            *present = wanted;
        }
    };
    or(&mut present.cpu_shares, wanted.cpu_shares);
    or(&mut present.nano_cpus, wanted.nano_cpus);
    or(&mut present.cpu_period, wanted.cpu_period);
    or(&mut present.cpu_quota, wanted.cpu_quota);
    or(&mut present.cpu_realtime_period, wanted.cpu_realtime_period);
    or(&mut present.cpu_realtime_runtime, wanted.cpu_realtime_runtime);
    or(&mut present.memory, wanted.memory);
    or(&mut present.memory_swap, wanted.memory_swap);
    or(&mut present.memory_reservation, wanted.memory_reservation);
    for (present, wanted) in
        [(&mut present.cpuset_cpus, &wanted.cpuset_cpus), (&mut present.cpuset_mems, &wanted.cpuset_mems)]
    {
        if !wanted.is_empty() {
            present.clone_from(wanted);
        }
    }
    if wanted.blkio_weight != 0 {
        present.blkio_weight = wanted.blkio_weight;
    }
    present.pids_limit = wanted.pids_limit.or(present.pids_limit);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(resources: Resources) -> Result<Limits> {
        of(&HostConfig { resources, ..HostConfig::default() })
    }

    #[test]
    fn cpus_become_a_quota() {
        let limits = limits(Resources { nano_cpus: 1_500_000_000, ..Resources::default() }).unwrap();
        assert_eq!((limits.cpu_quota_us, limits.cpu_period_us), (Some(150_000), Some(100_000)));
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_conflicts_are_dockers() {
        let mut present = Resources { memory: 64 << 20, memory_swap: 128 << 20, cpu_shares: 5, ..Resources::default() };
        merge(&mut present, &Resources { memory: 100 << 20, cpuset_cpus: "0".into(), ..Resources::default() }).unwrap();
        let expected = Resources {
            memory: 100 << 20,
            memory_swap: 128 << 20,
            cpu_shares: 5,
            cpuset_cpus: "0".into(),
            ..Resources::default()
        };
        assert_eq!(present, expected);
        let more = merge(&mut present, &Resources { memory: 200 << 20, ..Resources::default() }).unwrap_err();
        assert!(more.to_string().starts_with("Memory limit should be smaller than already set memoryswap limit"));
        present.nano_cpus = 1;
        let quota = merge(&mut present, &Resources { cpu_quota: 5000, ..Resources::default() }).unwrap_err();
        let sentence = "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set";
        assert_eq!(quota.to_string(), sentence);
    }

    #[test]
    fn only_block_devices_have_rates() {
        let rate = |path: &str| DeviceRate { path: path.to_owned(), rate: 1 };
        let with = |path| limits(Resources { blkio_device_read_bps: vec![rate(path)], ..Resources::default() });
        assert_eq!(with("/dev/null").unwrap_err().to_string(), "/dev/null is not a block device");
        assert_eq!(with("/dev/absent").unwrap_err().to_string(), "cannot find block device /dev/absent");
    }
}
