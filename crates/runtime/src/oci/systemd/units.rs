//! Names of units, and limits in systemd's words (systemd.resource-control(5)).

use serde::{Deserialize, Serialize};

use super::wire::{Property, Value};
use crate::oci::Error;

/// The unit of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::oci) struct Unit {
    pub(super) name: String,
    pub(super) slice: String,
}

impl Unit {
    /// That of the container `id`, by what its configuration says: `slice:prefix:name`, as runc has it.
    pub(in crate::oci) fn of(cgroups_path: &str, id: &str, is_of_person: bool) -> Result<Self, Error> {
        let usual = if is_of_person { "user.slice" } else { "system.slice" };
        let parts: Vec<&str> = cgroups_path.split(':').collect();
        let (slice, prefix, name) = match parts.as_slice() {
            [""] => (usual, "strata", id),
            ["", prefix, name] => (usual, *prefix, *name),
            [slice, prefix, name] => (*slice, *prefix, *name),
            _ => {
                let form = "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups";
                return Err(Error::Config(format!("{form}, got {cgroups_path:?} instead")));
            }
        };
        let name = match prefix {
            _ if name.ends_with(".slice") => name.to_owned(),
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        // Units of other forms are none that a process can be put into.
        let plain = |text: &str| !text.is_empty() && !text.contains(['/', '\0']) && !text.starts_with('.');
        if !plain(&name) || !plain(slice) || !slice.ends_with(".slice") || path_of_slice(slice).is_none() {
            return Err(Error::Config(format!("cgroupsPath {cgroups_path:?} is no place for a container")));
        }
        Ok(Self { name, slice: slice.to_owned() })
    }

    /// Its control group below that of its systemd.
    pub(in crate::oci) fn path(&self, root: &str) -> String {
        let slice = path_of_slice(&self.slice).unwrap_or_default();
        format!("{}{slice}/{}", root.trim_end_matches('/'), self.name)
    }

    /// What it is called.
    pub(in crate::oci) fn name(&self) -> &str {
        &self.name
    }
}

/// `a-b.slice` is in `a.slice`; `-.slice` is the root.
fn path_of_slice(slice: &str) -> Option<String> {
    let stem = slice.strip_suffix(".slice")?;
    if stem == "-" {
        return Some(String::new());
    }
    let (mut path, mut so_far) = (String::new(), String::new());
    for part in stem.split('-') {
        if part.is_empty() {
            return None;
        }
        so_far.push_str(if so_far.is_empty() { "" } else { "-" });
        so_far.push_str(part);
        path.push_str(&format!("/{so_far}.slice"));
    }
    Some(path)
}

/// Files of a group of version 2 and what is written into them, as properties of a unit. What systemd has no words for is
/// written directly only.
pub(super) fn properties(limits: &[(String, String)]) -> Vec<Property> {
    limits.iter().flat_map(|(file, value)| property(file, value)).collect()
}

fn property(file: &str, value: &str) -> Vec<Property> {
    let amount = || match value {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    let name = match file {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "io.weight" => "IOWeight",
        "cpuset.cpus" => "AllowedCPUs",
        "cpuset.mems" => "AllowedMemoryNodes",
        "cpu.max" => return quota(value).unwrap_or_default(),
        _ => return Vec::new(),
    };
    let value = match file.starts_with("cpuset.") {
        true => numbers(value).map(Value::Bytes),
        false => amount().map(Value::Long),
    };
    value.map(|value| (name, value)).into_iter().collect()
}

/// Time in a period as time in a second. systemd counts hundredths of processors.
fn quota(value: &str) -> Option<Vec<Property>> {
    const SECOND_US: u64 = 1_000_000;
    const STEP_US: u64 = 10_000;
    let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
    let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
    let per_second = match quota {
        "max" => u64::MAX,
        quota => (quota.parse::<u64>().ok()?.saturating_mul(SECOND_US) / period).next_multiple_of(STEP_US),
    };
    Some(vec![("CPUQuotaPerSecUSec", Value::Long(per_second)), ("CPUQuotaPeriodUSec", Value::Long(period))])
}

/// `0-2,9` as bits, the lowest first.
fn numbers(list: &str) -> Option<Vec<u8>> {
    /// More processors than Linux knows.
    const NUMBER_MAX: usize = 1 << 16;
    let mut bits = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > NUMBER_MAX {
            return None;
        }
        for number in first..=last {
            bits.resize(bits.len().max(number / 8 + 1), 0);
            bits[number / 8] |= 1 << (number % 8);
        }
    }
    (!bits.is_empty()).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_as_runc_names_them() {
        let check = |path: &str, expected: Option<(&str, &str)>| {
            let unit = Unit::of(path, "box", false).ok();
            let told = unit.as_ref().map(|unit| (unit.name.clone(), unit.path("/below/")));
            let expected = expected.map(|(name, path)| (name.to_owned(), format!("/below{path}")));
            assert_eq!(told, expected, "{path}");
        };
        check("", Some(("strata-box.scope", "/system.slice/strata-box.scope")));
        check("machine.slice:libpod:1", Some(("libpod-1.scope", "/machine.slice/libpod-1.scope")));
        check("a-b.slice::1", Some(("1.scope", "/a.slice/a-b.slice/1.scope")));
        check("-.slice:x:1", Some(("x-1.scope", "/x-1.scope")));
        check(":cri:1", Some(("cri-1.scope", "/system.slice/cri-1.scope")));
        for wrong in ["/a/b", "a:b", "a:b:c", "../a.slice:b:c", "a.slice:b:../c", "a--b.slice:b:c", "a.slice:b/:c"] {
            check(wrong, None);
        }
    }

    #[test]
    fn limits_are_told_in_systemd_s_words() {
        let check = |file: &str, value: &str, expected: &[Property]| {
            assert_eq!(properties(&[(file.to_owned(), value.to_owned())]), expected, "{file} {value}");
        };
        check("memory.max", "1000", &[("MemoryMax", Value::Long(1000))]);
        check("pids.max", "max", &[("TasksMax", Value::Long(u64::MAX))]);
        check("cpuset.cpus", "0-1,9", &[("AllowedCPUs", Value::Bytes(vec![3, 2]))]);
        check("hugetlb.2MB.max", "4", &[]);
        check("cpuset.cpus", "9-1", &[]);
        let quota =
            |second, period| [("CPUQuotaPerSecUSec", Value::Long(second)), ("CPUQuotaPeriodUSec", Value::Long(period))];
        check("cpu.max", "20000 50000", &quota(400_000, 50_000));
        check("cpu.max", "1234 100000", &quota(20_000, 100_000));
        check("cpu.max", "max 100000", &quota(u64::MAX, 100_000));
    }
}
