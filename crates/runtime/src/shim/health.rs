//! Asking a container for its health, now and then.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use strata_sys::signal;

use super::{Shim, launch, record};
use crate::Error;
use crate::spec::{HealthCheck, Process, Spec, Stdin};
use crate::state::{Health, HealthResult, HealthStatus};

/// So much of what a check prints is kept, as Docker does.
const OUTPUT_BYTES_MAX: usize = 4096;
/// So many results are kept.
const RESULTS_MAX: usize = 5;

/// The checks of one run.
pub(super) struct Monitor {
    check: HealthCheck,
    began: Instant,
    next: Instant,
    probe: Option<Probe>,
}

/// A check under way.
struct Probe {
    number: u32,
    start: Timestamp,
    since: Instant,
    output: Vec<u8>,
    timed_out: bool,
}

impl Monitor {
    pub(super) fn new(check: HealthCheck) -> Self {
        let began = Instant::now();
        let mut monitor = Self { check, began, next: began, probe: None };
        monitor.next = began + monitor.interval(HealthStatus::Starting);
        monitor
    }

    fn interval(&self, status: HealthStatus) -> Duration {
        let begins = self.began.elapsed() < Duration::from_millis(self.check.start_period_ms);
        let ms = if begins && status == HealthStatus::Starting {
            self.check.start_interval_ms
        } else {
            self.check.interval_ms
        };
        Duration::from_millis(ms)
    }

    /// When something has to be done next.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.probe {
            None => Some(self.next),
            Some(probe) if probe.timed_out => None,
            Some(probe) => Some(probe.since + Duration::from_millis(self.check.timeout_ms)),
        }
    }

    /// Whether a program is the check.
    pub(super) fn is_check(&self, number: u32) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.number == number)
    }

    /// Takes what a program printed, if it is the check.
    pub(super) fn hear(&mut self, number: u32, bytes: &[u8]) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
            // One more than is kept, to know that there was more.
            let room = (OUTPUT_BYTES_MAX + 1).saturating_sub(probe.output.len());
            probe.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn outcome(&self, probe: Probe, code: i32) -> HealthResult {
        let Probe { start, mut output, timed_out, .. } = probe;
        let more = output.len() > OUTPUT_BYTES_MAX;
        output.truncate(OUTPUT_BYTES_MAX);
        let mut output = String::from_utf8_lossy(&output).into_owned();
        if more {
            output.push_str("...");
        }
        if timed_out {
            let seconds = Duration::from_millis(self.check.timeout_ms);
            let colon = if output.is_empty() { "" } else { ": " };
            output = format!("Health check exceeded timeout ({seconds:?}){colon}{output}");
        }
        HealthResult { start, end: Timestamp::now(), exit_code: if timed_out { -1 } else { code }, output }
    }

    /// What a result does to how the container feels.
    fn judge(&self, health: &mut Health, result: HealthResult, begins: bool) {
        if result.exit_code == 0 {
            health.failing_streak = 0;
            health.status = HealthStatus::Healthy;
        } else if !(begins && health.status == HealthStatus::Starting) {
            health.failing_streak += 1;
            if health.failing_streak >= self.check.retries {
                health.status = HealthStatus::Unhealthy;
            }
        }
        health.log.push(result);
        let surplus = health.log.len().saturating_sub(RESULTS_MAX);
        health.log.drain(..surplus);
    }
}

impl Health {
    /// How a container feels that was just started.
    pub(super) const fn starting() -> Self {
        Self { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() }
    }
}

impl Shim {
    /// Begins a check that is due, ends one that takes too long, and takes in the result of one that has ended.
    pub(super) fn look_after_health(&mut self) -> Result<(), Error> {
        let Some(mut monitor) = self.monitor.take() else { return Ok(()) };
        let done = self.step(&mut monitor);
        self.monitor = Some(monitor);
        done
    }

    fn step(&mut self, monitor: &mut Monitor) -> Result<(), Error> {
        let Some(probe) = &mut monitor.probe else {
            return if Instant::now() < monitor.next { Ok(()) } else { self.begin_check(monitor) };
        };
        let number = probe.number;
        let Some(program) = self.programs.iter().find(|program| program.number == number) else {
            return self.end_check(monitor, 255);
        };
        if let Some(code) = program.exit_code.filter(|_| program.drained) {
            return self.end_check(monitor, code);
        }
        if !probe.timed_out && probe.since.elapsed() >= Duration::from_millis(monitor.check.timeout_ms) {
            probe.timed_out = true;
            if let Err(errno) = signal::send(program.pidfd.as_fd(), signal::Signal::KILL) {
                tracing::debug!(%errno, "a check ended by itself");
            }
        }
        Ok(())
    }

    fn begin_check(&mut self, monitor: &mut Monitor) -> Result<(), Error> {
        if self.cgroup.is_frozen() {
            monitor.next = Instant::now() + monitor.interval(HealthStatus::Healthy);
            return Ok(());
        }
        let probe = Probe {
            number: self.next_number,
            start: Timestamp::now(),
            since: Instant::now(),
            output: Vec::new(),
            timed_out: false,
        };
        match self.launch_check(&monitor.check) {
            Ok(()) => {
                monitor.probe = Some(probe);
                Ok(())
            }
            // The container has just ended, which its own end will tell.
            Err(Error::NotRunning(_)) => {
                monitor.next = Instant::now() + monitor.interval(HealthStatus::Healthy);
                Ok(())
            }
            Err(error) => {
                let output = crate::error::sentence(&error).into_bytes();
                monitor.probe = Some(Probe { output, ..probe });
                self.end_check(monitor, -1)
            }
        }
    }

    fn launch_check(&mut self, check: &HealthCheck) -> Result<(), Error> {
        let path = record::spec_path(&self.places.run_dir, &self.id);
        let spec: Spec = record::read(&path)?.ok_or_else(|| Error::NotRunning(self.id.to_string()))?;
        let first = self.programs.iter().find(|program| program.number == self.first && program.exit_code.is_none());
        let first = first.ok_or_else(|| Error::NotRunning(self.id.to_string()))?;
        let process = Process {
            args: check.args.clone(),
            tty: false,
            stdin: Stdin::Empty,
            terminal_size: None,
            ..spec.process.clone()
        };
        let target = first.pidfd.as_fd();
        let launched = launch::joining(self.next_number, &process, &spec, target, &self.places, &self.cgroup)?;
        self.next_number += 1;
        self.programs.push(launched.program);
        Ok(())
    }

    fn end_check(&mut self, monitor: &mut Monitor, code: i32) -> Result<(), Error> {
        let Some(probe) = monitor.probe.take() else { return Ok(()) };
        let begins = probe.since.duration_since(monitor.began) < Duration::from_millis(monitor.check.start_period_ms);
        let result = monitor.outcome(probe, code);
        let health = self.state.health.get_or_insert_with(Health::starting);
        let before = health.status;
        monitor.judge(health, result, begins);
        let after = health.status;
        monitor.next = Instant::now() + monitor.interval(after);
        self.record(false)?;
        if after != before {
            self.tell(&format!("health_status: {}", after.as_str()), &[]);
        }
        Ok(())
    }

    /// Nobody is asked any more.
    pub(super) fn end_checks(&mut self) {
        self.monitor = None;
        if let Some(health) = &mut self.state.health {
            health.status = HealthStatus::Unhealthy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(start_period_ms: u64) -> Monitor {
        let args = vec!["true".to_owned()];
        let check = HealthCheck {
            args,
            interval_ms: 1000,
            timeout_ms: 2000,
            start_period_ms,
            start_interval_ms: 100,
            retries: 2,
        };
        Monitor::new(check)
    }

    fn result(exit_code: i32) -> HealthResult {
        let now = Timestamp::UNIX_EPOCH;
        HealthResult { start: now, end: now, exit_code, output: String::new() }
    }

    #[test]
    fn enough_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let monitor = monitor(0);
        let mut health = Health::starting();
        let mut seen = Vec::new();
        for code in [1, 0, 1, 1, 1, 0, 0] {
            monitor.judge(&mut health, result(code), false);
            seen.push((health.status.as_str(), health.failing_streak));
        }
        let expected = [
            ("starting", 1),
            ("healthy", 0),
            ("healthy", 1),
            ("unhealthy", 2),
            ("unhealthy", 3),
            ("healthy", 0),
            ("healthy", 0),
        ];
        assert_eq!(seen, expected);
        assert_eq!(health.log.len(), RESULTS_MAX);
    }

    #[test]
    fn failures_at_the_start_do_not_count_until_it_was_healthy() {
        let monitor = monitor(60_000);
        let mut health = Health::starting();
        for _ in 0..5 {
            monitor.judge(&mut health, result(1), true);
        }
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
        monitor.judge(&mut health, result(0), true);
        monitor.judge(&mut health, result(1), true);
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Healthy, 1));
        assert_eq!(monitor.interval(HealthStatus::Starting).as_millis(), 100);
        assert_eq!(monitor.interval(HealthStatus::Healthy).as_millis(), 1000);
    }

    #[test]
    fn what_a_check_prints_is_cut_and_a_timeout_is_said() {
        let mut monitor = monitor(0);
        let now = Instant::now();
        let probe =
            |output, timed_out| Probe { number: 7, start: Timestamp::UNIX_EPOCH, since: now, output, timed_out };
        monitor.probe = Some(probe(Vec::new(), false));
        monitor.hear(7, &[b'x'; 3000]);
        monitor.hear(8, b"another's");
        monitor.hear(7, &[b'x'; 3000]);
        let said = monitor.probe.take().unwrap();
        let output = monitor.outcome(said, 3).output;
        assert_eq!((output.len(), output.ends_with("x...")), (OUTPUT_BYTES_MAX + 3, true));
        let late = monitor.outcome(probe(b"so far".to_vec(), true), 137);
        assert_eq!((late.exit_code, late.output.as_str()), (-1, "Health check exceeded timeout (2s): so far"));
    }
}
