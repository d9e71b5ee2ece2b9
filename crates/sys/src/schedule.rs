//! How a process is scheduled: on CPUs (sched_setattr(2), sched_setaffinity(2)) and at the disk (ioprio_set(2)).

use rustix::io::{Errno, Result};

use crate::signal::last_errno;

/// What sched_setattr(2) takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// `SCHED_OTHER` is 0; see sched.h.
    pub policy: u32,
    /// `SCHED_FLAG_…`.
    pub flags: u64,
    /// The nice value.
    pub nice: i32,
    /// For real-time policies.
    pub priority: u32,
    /// Of deadlines, in nanoseconds.
    pub runtime: u64,
    /// The same.
    pub deadline: u64,
    /// The same.
    pub period: u64,
}

/// As the kernel has it, first version.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Scheduling {
    /// Puts it in force for this thread and what it starts.
    pub fn set(self) -> Result<()> {
        let Self { policy, flags, nice, priority, runtime, deadline, period } = self;
        let size = size_of::<Attributes>() as u32;
        let attributes = Attributes { size, policy, flags, nice, priority, runtime, deadline, period };
        // SAFETY: the structure has the size that it says, and outlives the call.
        match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    }
}

/// A class and a priority in it, for this thread's requests to disks.
pub fn set_disk_priority(class: u8, priority: u8) -> Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_SHIFT: u32 = 13;
    let value = libc::c_int::from(class) << CLASS_SHIFT | libc::c_int::from(priority);
    // SAFETY: takes three numbers.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Lets this thread and what it starts run on these CPUs only.
pub fn set_cpus(cpus: &[usize]) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus {
        if *cpu >= rustix::thread::CpuSet::MAX_CPU {
            return Err(Errno::INVAL);
        }
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set)
}
