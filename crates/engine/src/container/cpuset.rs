//! Whether the processors and the memory nodes that a container asks for are there.

use std::fs;
use std::ops::RangeInclusive;

use crate::Result;
use crate::container::{ContainerError, Resources};

/// Refuses processors and memory nodes that the machine has not.
pub(super) fn check(resources: &Resources) -> Result<()> {
    for (wanted, set, things, online) in [
        (&resources.cpuset_cpus, "cpus", "CPUs", "/sys/devices/system/cpu/online"),
        (&resources.cpuset_mems, "mems", "memory nodes", "/sys/devices/system/node/online"),
    ] {
        if wanted.is_empty() {
            continue;
        }
        // A kernel without memory nodes has no such file, and says itself what it does not take.
        let there = fs::read_to_string(online).unwrap_or_default();
        compare(wanted, there.trim(), (set, things)).map_err(ContainerError::invalid)?;
    }
    Ok(())
}

/// Compares lists such as `0-2,7`; `there` may be empty.
fn compare(wanted: &str, there: &str, (set, things): (&str, &str)) -> std::result::Result<(), String> {
    let asked =
        ranges(wanted).map_err(|part| format!("Invalid value {wanted} for cpuset {set}: invalid format: {part}"))?;
    let Ok(known) = ranges(there) else { return Ok(()) };
    let is_known = |number: u32| known.iter().any(|range| range.contains(&number));
    if asked.into_iter().flatten().all(is_known) {
        return Ok(());
    }
    Err(format!("Requested {things} are not available - requested {wanted}, available: {there}"))
}

/// More processors than any kernel knows, so that a range costs no time.
const NUMBER_MAX: u32 = 8191;

/// Reads a list; what is none of its parts comes back.
fn ranges(list: &str) -> std::result::Result<Vec<RangeInclusive<u32>>, &str> {
    let range = |part| {
        let (first, last) = str::split_once(part, '-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last <= NUMBER_MAX).then_some(first..=last)
    };
    list.split(',').map(|part| range(part).ok_or(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_said_in_dockers_words() {
        let check = |wanted, there| compare(wanted, there, ("cpus", "CPUs")).err().unwrap_or_default();
        for (wanted, there) in [("0", "0-1"), ("0-1", "0-1"), ("0,3", "0,2-3"), ("9", "")] {
            assert_eq!(check(wanted, there), "", "{wanted}");
        }
        assert_eq!(check("99", "0-1"), "Requested CPUs are not available - requested 99, available: 0-1");
        assert_eq!(check("x", "0-1"), "Invalid value x for cpuset cpus: invalid format: x");
        assert_eq!(check("0,3-1", "0-1"), "Invalid value 0,3-1 for cpuset cpus: invalid format: 3-1");
        assert_eq!(
            check("0-4000000000", "0"),
            "Invalid value 0-4000000000 for cpuset cpus: invalid format: 0-4000000000"
        );
    }
}
