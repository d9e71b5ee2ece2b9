//! Processes that were recorded by number and time of their start: whether they live, answer, or how they ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use strata_sys::process;
use strata_sys::signal::{self, Signal};

use crate::Error;
use crate::shim::record::Stat;

/// How long a process may take to be gone after it was killed.
const KILL_MAX: Duration = Duration::from_secs(10);

/// A process, by number and by the time when it started, in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) pid: i32,
    pub(crate) started_ticks: u64,
}

/// A living process, certainly the one that was recorded.
pub(crate) struct Alive {
    pub(crate) pidfd: OwnedFd,
    recorded: Recorded,
}

impl Recorded {
    /// The process, if it lives.
    pub(crate) fn alive(self) -> Option<Alive> {
        let pidfd = process::open(self.pid).ok()?;
        // Looked at after the descriptor was opened: the number cannot be another's meanwhile.
        let stat = self.stat().filter(|stat| !stat.has_ended());
        stat.map(|_| Alive { pidfd, recorded: self })
    }

    /// How it ended, as long as nobody has taken that in.
    pub(crate) fn exit_code(self) -> Option<i32> {
        let stat = self.stat().filter(Stat::has_ended)?;
        Some(match stat.exit_status & 0x7f {
            0 => stat.exit_status >> 8 & 0xff,
            signal => 128 + signal,
        })
    }

    fn stat(self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.started_ticks == self.started_ticks)
    }
}

impl Alive {
    /// Whether somebody has stopped it (SIGSTOP, or a debugger): then it does nothing until it is told to go on.
    pub(crate) fn is_stopped(&self) -> bool {
        self.recorded.stat().is_some_and(|stat| stat.is_stopped())
    }

    /// Kills it and waits until it is gone; no if the kernel does not let it go.
    pub(crate) fn kill(&self) -> Result<bool, Error> {
        match signal::send(self.pidfd.as_fd(), Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => wait_until(self.pidfd.as_fd(), Some(KILL_MAX)),
            Err(errno) => Err(Error::step("end a shim that does not answer")(errno)),
        }
    }
}

/// Waits until a descriptor can be read, as a pidfd can when its process has ended; no if time is up before.
pub(crate) fn wait_until(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool, Error> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::step("wait for a process")(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn start(program: &str, words: &[&str]) -> (Child, Recorded) {
        let child = Command::new(program).args(words).stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id().cast_signed();
        (child, Recorded { pid, started_ticks: Stat::of(pid).unwrap().started_ticks })
    }

    #[test]
    fn what_ended_is_known_until_its_parent_asks() {
        for (script, code) in [("exit 3", 3), ("kill -9 $$", 137), ("true", 0)] {
            let (mut child, recorded) = start("sh", &["-c", &format!("read line; {script}")]);
            let alive = recorded.alive().unwrap();
            assert_eq!(recorded.exit_code(), None, "{script}");
            drop(child.stdin.take());
            assert!(wait_until(alive.pidfd.as_fd(), None).unwrap());
            assert_eq!(recorded.exit_code(), Some(code), "{script}");
            assert!(recorded.alive().is_none());
            child.wait().unwrap();
            assert_eq!(recorded.exit_code(), None, "{script}");
        }
    }

    #[test]
    fn what_is_stopped_can_be_killed() {
        let (mut child, recorded) = start("cat", &[]);
        let alive = recorded.alive().unwrap();
        assert!(!alive.is_stopped());
        signal::send(alive.pidfd.as_fd(), Signal::STOP).unwrap();
        // Its parent hears when it has stopped.
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::UNTRACED).unwrap();
        assert!(alive.is_stopped());
        assert!(alive.kill().unwrap());
        assert_eq!(recorded.exit_code(), Some(137));
        assert!(Recorded { started_ticks: recorded.started_ticks + 1, ..recorded }.alive().is_none());
        child.wait().unwrap();
    }
}
