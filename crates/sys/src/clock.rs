//! What time it is.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// The wall clock.
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Time since boot, suspended time included; it never goes back.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Does nothing for a while: for what the kernel tells nobody about, such as a lock with a time limit. Tests don't.
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
