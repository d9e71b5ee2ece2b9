//! What a bundle's container may use at most, as files of its control group.

use std::io::ErrorKind;

use strata_sys::cgroup::{self, Cgroup, DeviceEntry, DeviceRule, Layout};
use strata_types::runtime_spec::{BlockIo, Cpu, DeviceAccess, Memory, Resources, ThrottleDevice};

use super::Error;

/// A file and what is written into it.
type Setting = (String, String);

/// Sets all limits. What a host cannot limit is an error if it was asked for.
pub(super) fn set(group: &Cgroup, resources: &Resources) -> Result<(), Error> {
    let settings = match group.layout() {
        Layout::V1 => version_1(resources),
        Layout::V2 => version_2(resources),
        Layout::None => Vec::new(),
    };
    let mut again = Vec::new();
    for (file, value) in settings {
        match group.set(&file, &value) {
            Ok(()) => {}
            // Memory may never exceed memory and swap together: which comes first depends on whether they grow or shrink.
            Err(_) if file == "memory.limit_in_bytes" => again.push((file, value)),
            Err(source) => match other_name(&file).map(|other| group.set(other, &value)) {
                Some(Ok(())) => {}
                // Where nothing can be limited, there is no limit.
                _ if source.kind() == ErrorKind::NotFound && matches!(value.as_str(), "max" | "-1") => {}
                _ => return Err(Error::Limit { file, value, source }),
            },
        }
    }
    for (file, value) in again {
        group.set(&file, &value).map_err(|source| Error::Limit { file, value, source })?;
    }
    Ok(())
}

/// Names that a file has with another scheduler of disks.
fn other_name(file: &str) -> Option<&'static str> {
    Some(match file {
        "blkio.weight" => "blkio.bfq.weight",
        "blkio.weight_device" => "blkio.bfq.weight_device",
        "io.weight" => "io.bfq.weight",
        _ => return None,
    })
}

/// Says which devices may be opened: those of the list, and those that every container has.
pub(super) fn set_devices(group: &Cgroup, resources: &Resources) -> Result<(), Error> {
    let entries = resources.devices.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    if entries.is_empty() {
        return Ok(());
    }
    let standing = DeviceRule::standing().into_iter().map(DeviceEntry::from);
    let all: Vec<_> = entries.into_iter().chain(standing).collect();
    Ok(group.set_devices(&all).map_err(crate::Error::io("say which devices may be opened"))?)
}

fn entry(access: &DeviceAccess) -> Result<DeviceEntry, Error> {
    let block = match access.kind.as_str() {
        "" | "a" => None,
        "b" => Some(true),
        "c" | "u" => Some(false),
        other => return Err(Error::Config(format!("invalid cgroup device type {other:?}"))),
    };
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    let words = if access.access.is_empty() { "rwm" } else { &access.access };
    if words.contains(|c| !"rwm".contains(c)) {
        return Err(Error::Config(format!("invalid cgroup device access {words:?}")));
    }
    Ok(DeviceEntry {
        allow: access.allow,
        block,
        major: number(access.major),
        minor: number(access.minor),
        read: words.contains('r'),
        write: words.contains('w'),
        make: words.contains('m'),
    })
}

struct Settings(Vec<Setting>);

impl Settings {
    fn put(&mut self, file: &str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| (file.to_owned(), value.to_string())));
    }

    fn throttle(&mut self, file: &str, list: &[ThrottleDevice], word: &str) {
        for one in list {
            self.put(file, Some(format!("{}:{} {word}{}", one.major, one.minor, one.rate)));
        }
    }
}

fn version_1(resources: &Resources) -> Vec<Setting> {
    let Resources { memory, cpu, pids, block_io, hugepage_limits, network, rdma, .. } = resources;
    let mut all = Settings(Vec::new());
    memory_1(&mut all, memory);
    all.put("cpu.shares", cpu.shares.filter(|shares| *shares > 0));
    all.put("cpu.cfs_period_us", cpu.period.filter(|period| *period > 0));
    all.put("cpu.cfs_quota_us", cpu.quota.filter(|quota| *quota != 0));
    all.put("cpu.cfs_burst_us", cpu.burst);
    all.put("cpu.idle", cpu.idle);
    all.put("cpu.rt_period_us", cpu.realtime_period.filter(|period| *period > 0));
    all.put("cpu.rt_runtime_us", cpu.realtime_runtime.filter(|runtime| *runtime != 0));
    sets(&mut all, cpu);
    all.put("pids.max", pids.limit.map(number_of_processes));
    all.put("blkio.weight", block_io.weight.filter(|weight| *weight > 0));
    all.put("blkio.leaf_weight", block_io.leaf_weight.filter(|weight| *weight > 0));
    for one in &block_io.weight_device {
        let on = |weight: Option<u16>| weight.map(|weight| format!("{}:{} {weight}", one.major, one.minor));
        all.put("blkio.weight_device", on(one.weight));
        all.put("blkio.leaf_weight_device", on(one.leaf_weight));
    }
    all.throttle("blkio.throttle.read_bps_device", &block_io.throttle_read_bps_device, "");
    all.throttle("blkio.throttle.write_bps_device", &block_io.throttle_write_bps_device, "");
    all.throttle("blkio.throttle.read_iops_device", &block_io.throttle_read_iops_device, "");
    all.throttle("blkio.throttle.write_iops_device", &block_io.throttle_write_iops_device, "");
    for one in hugepage_limits {
        all.put(&format!("hugetlb.{}.limit_in_bytes", one.page_size), Some(one.limit));
    }
    all.put("net_cls.classid", network.class_id);
    for one in &network.priorities {
        all.put("net_prio.ifpriomap", Some(format!("{} {}", one.name, one.priority)));
    }
    for (device, limit) in rdma {
        all.put("rdma.max", Some(remote_memory(device, limit.hca_handles, limit.hca_objects)));
    }
    all.0
}

fn memory_1(all: &mut Settings, memory: &Memory) {
    all.put("memory.limit_in_bytes", memory.limit.filter(|limit| *limit != 0));
    all.put("memory.memsw.limit_in_bytes", memory.swap.filter(|limit| *limit != 0));
    all.put("memory.soft_limit_in_bytes", memory.reservation.filter(|limit| *limit != 0));
    // The kernel's own has no limit of its own any more: kernels accept the file and pass over it.
    all.put("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp.filter(|limit| *limit != 0));
    all.put("memory.swappiness", memory.swappiness);
    all.put("memory.oom_control", memory.disable_oom_killer.filter(|on| *on).map(|_| 1));
    all.put("memory.use_hierarchy", memory.use_hierarchy.filter(|on| *on).map(|_| 1));
}

fn sets(all: &mut Settings, cpu: &Cpu) {
    let named = |list: &String| (!list.is_empty()).then(|| list.clone());
    all.put("cpuset.cpus", named(&cpu.cpus));
    all.put("cpuset.mems", named(&cpu.mems));
}

fn number_of_processes(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "max".to_owned() }
}

fn remote_memory(device: &str, handles: Option<u32>, objects: Option<u32>) -> String {
    let part = |name: &str, value: Option<u32>| value.map_or(String::new(), |value| format!(" {name}={value}"));
    format!("{device}{}{}", part("hca_handle", handles), part("hca_object", objects))
}

/// The limits as files of a group of version 2.
pub(super) fn version_2(resources: &Resources) -> Vec<Setting> {
    let Resources { memory, cpu, pids, block_io, hugepage_limits, rdma, unified, .. } = resources;
    let mut all = Settings(Vec::new());
    let bytes = |limit: i64| if limit < 0 { "max".to_owned() } else { limit.to_string() };
    all.put("memory.max", memory.limit.filter(|limit| *limit != 0).map(bytes));
    all.put("memory.swap.max", swap_alone(memory));
    all.put("memory.low", memory.reservation.filter(|limit| *limit != 0).map(bytes));
    all.put("cpu.weight", cpu.shares.filter(|shares| *shares > 0).map(cgroup::cpu_weight));
    if cpu.quota.is_some_and(|quota| quota != 0) || cpu.period.is_some_and(|period| period > 0) {
        let quota = cpu.quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
        all.put("cpu.max", Some(format!("{quota} {}", cpu.period.filter(|p| *p > 0).unwrap_or(100_000))));
    }
    all.put("cpu.max.burst", cpu.burst);
    all.put("cpu.idle", cpu.idle);
    sets(&mut all, cpu);
    all.put("pids.max", pids.limit.map(number_of_processes));
    disks_2(&mut all, block_io);
    for one in hugepage_limits {
        all.put(&format!("hugetlb.{}.max", one.page_size), Some(one.limit));
    }
    for (device, limit) in rdma {
        all.put("rdma.max", Some(remote_memory(device, limit.hca_handles, limit.hca_objects)));
    }
    for (file, value) in unified {
        all.put(file, Some(value));
    }
    all.0
}

fn disks_2(all: &mut Settings, block_io: &BlockIo) {
    let weight = |weight: u16| 1 + (u64::from(weight.max(10)) - 10) * 9999 / 990;
    all.put("io.weight", block_io.weight.filter(|weight| *weight > 0).map(weight));
    for one in &block_io.weight_device {
        all.put("io.weight", one.weight.map(|is| format!("{}:{} {}", one.major, one.minor, weight(is))));
    }
    all.throttle("io.max", &block_io.throttle_read_bps_device, "rbps=");
    all.throttle("io.max", &block_io.throttle_write_bps_device, "wbps=");
    all.throttle("io.max", &block_io.throttle_read_iops_device, "riops=");
    all.throttle("io.max", &block_io.throttle_write_iops_device, "wiops=");
}

/// Version 2 counts swap alone.
fn swap_alone(memory: &Memory) -> Option<String> {
    let both = memory.swap.filter(|swap| *swap != 0)?;
    Some(match (both, memory.limit) {
        (both, _) if both < 0 => "max".to_owned(),
        (both, Some(limit)) if limit > 0 => both.saturating_sub(limit).max(0).to_string(),
        (both, _) => both.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resources: &str, expected_1: &[(&str, &str)], expected_2: &[(&str, &str)]) {
        let resources: Resources = serde_json::from_str(resources).unwrap();
        let owned = |list: &[(&str, &str)]| -> Vec<Setting> {
            list.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(version_1(&resources), owned(expected_1));
        assert_eq!(version_2(&resources), owned(expected_2));
    }

    #[test]
    fn limits_become_files_of_both_versions() {
        check(
            r#"{"memory": {"limit": 1000, "swap": 1500, "reservation": 500}, "pids": {"limit": 0}}"#,
            &[
                ("memory.limit_in_bytes", "1000"),
                ("memory.memsw.limit_in_bytes", "1500"),
                ("memory.soft_limit_in_bytes", "500"),
                ("pids.max", "max"),
            ],
            &[("memory.max", "1000"), ("memory.swap.max", "500"), ("memory.low", "500"), ("pids.max", "max")],
        );
        check(
            r#"{"cpu": {"shares": 1024, "quota": 5000, "cpus": "0-1"}, "unified": {"memory.high": "7"}}"#,
            &[("cpu.shares", "1024"), ("cpu.cfs_quota_us", "5000"), ("cpuset.cpus", "0-1")],
            &[("cpu.weight", "39"), ("cpu.max", "5000 100000"), ("cpuset.cpus", "0-1"), ("memory.high", "7")],
        );
        check(
            r#"{"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}]}, "network": {"classID": 3},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4}], "rdma": {"mlx": {"hcaHandles": 2}}}"#,
            &[
                ("blkio.throttle.read_bps_device", "8:0 9"),
                ("hugetlb.2MB.limit_in_bytes", "4"),
                ("net_cls.classid", "3"),
                ("rdma.max", "mlx hca_handle=2"),
            ],
            &[("io.max", "8:0 rbps=9"), ("hugetlb.2MB.max", "4"), ("rdma.max", "mlx hca_handle=2")],
        );
    }
}
