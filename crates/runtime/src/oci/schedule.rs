//! How a process of a bundle is scheduled.

use strata_sys::schedule::{self, Scheduling};
use strata_types::runtime_spec::Process;

use super::Error;

/// What is said about it; nothing, nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    cpu: Option<Scheduling>,
    /// Class and priority.
    disk: Option<(u8, u8)>,
    /// CPUs before and after a process that joins is in the container's control groups.
    cpus: [Vec<usize>; 2],
}

const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 1),
    ("SCHED_FLAG_RECLAIM", 2),
    ("SCHED_FLAG_DL_OVERRUN", 4),
    ("SCHED_FLAG_KEEP_POLICY", 8),
    ("SCHED_FLAG_KEEP_PARAMS", 16),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 32),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 64),
];
const CLASSES: [(&str, u8); 3] = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
/// Of priorities at the disk.
const PRIORITY_MAX: u8 = 7;

fn named<T: Copy>(list: &[(&str, T)], name: &str) -> Result<T, Error> {
    let found = list.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| Error::Config(format!("unknown {name:?}")))
}

impl Schedule {
    /// Reads what is said about a process.
    pub(super) fn of(process: &Process) -> Result<Self, Error> {
        let mut this = Self::default();
        if let Some(asked) = &process.scheduler {
            let flags = asked.flags.iter().map(|flag| named(&FLAGS, flag)).sum::<Result<u64, _>>()?;
            this.cpu = Some(Scheduling {
                policy: named(&POLICIES, &asked.policy)?,
                flags,
                nice: asked.nice,
                priority: u32::try_from(asked.priority)
                    .map_err(|_| Error::Config("scheduler priority is negative".to_owned()))?,
                runtime: asked.runtime,
                deadline: asked.deadline,
                period: asked.period,
            });
        }
        if let Some(asked) = &process.io_priority {
            if asked.priority > PRIORITY_MAX {
                return Err(Error::Config(format!("ioPriority {} is above {PRIORITY_MAX}", asked.priority)));
            }
            this.disk = Some((named(&CLASSES, &asked.class)?, asked.priority));
        }
        if let Some(asked) = &process.exec_cpu_affinity {
            this.cpus = [cpus(&asked.initial)?, cpus(&asked.last)?];
        }
        Ok(this)
    }

    /// Puts it in force for this process.
    pub(crate) fn set(&self) -> Result<(), crate::Error> {
        if let Some((class, priority)) = self.disk {
            schedule::set_disk_priority(class, priority).map_err(crate::Error::step("set the priority at the disk"))?;
        }
        self.cpu.map_or(Ok(()), Scheduling::set).map_err(crate::Error::step("set the scheduler"))
    }

    /// Runs on its CPUs only: those of before, or of after.
    pub(crate) fn stay_on_cpus(&self, after: bool) -> Result<(), crate::Error> {
        match self.cpus[usize::from(after)].as_slice() {
            [] => Ok(()),
            cpus => schedule::set_cpus(cpus).map_err(crate::Error::step("stay on the CPUs")),
        }
    }
}

/// A list such as `0-3,7`.
fn cpus(list: &str) -> Result<Vec<usize>, Error> {
    /// No machine has more.
    const CPUS_MAX: usize = 8192;
    let wrong = || Error::Config(format!("{list:?} is no list of CPUs"));
    let mut all = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if first > last || last >= CPUS_MAX {
            return Err(wrong());
        }
        all.extend(first..=last);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_numbers() {
        let read = |text: &str| Schedule::of(&serde_json::from_str(text).unwrap());
        let all = read(
            r#"{"scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"]},
                "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3}, "execCPUAffinity": {"initial": "0-2,5"}}"#,
        )
        .unwrap();
        let cpu = all.cpu.unwrap();
        assert_eq!((cpu.policy, cpu.nice, cpu.flags), (3, 5, 3));
        assert_eq!((all.disk, all.cpus), (Some((2, 3)), [vec![0, 1, 2, 5], vec![]]));
        for wrong in [
            r#"{"scheduler": {"policy": "SCHED_X"}}"#,
            r#"{"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 8}}"#,
            r#"{"execCPUAffinity": {"final": "3-1"}}"#,
        ] {
            read(wrong).unwrap_err();
        }
    }
}
