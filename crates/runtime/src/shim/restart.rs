//! Whether and when a container is started again.

use std::time::Duration;

use crate::spec::Restart;

/// Before the first time, as Docker waits.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest it waits, however often the container failed.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Having run for so long, it starts again as if it had never failed.
const RAN_WELL: Duration = Duration::from_secs(10);

/// What is remembered from run to run.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    pub(super) policy: Restart,
    /// A person ended it: it is not started again.
    pub(super) cancelled: bool,
    /// How often it was started again.
    pub(super) count: u32,
    wait: Duration,
}

/// One run that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) exit_code: i32,
    pub(super) lasted: Duration,
    /// A person had to do with its end.
    pub(super) by_person: bool,
}

impl Restarts {
    pub(super) fn new(policy: Restart) -> Self {
        Self { policy, ..Self::default() }
    }

    /// How long to wait before the next run; none if there is none.
    pub(super) fn after(&mut self, run: Run) -> Option<Duration> {
        if self.cancelled {
            return None;
        }
        let again = match self.policy {
            Restart::No => false,
            Restart::Always => true,
            Restart::UnlessStopped => !run.by_person,
            Restart::OnFailure { restarts_max } => {
                run.exit_code != 0 && (restarts_max == 0 || self.count < restarts_max)
            }
        };
        if run.lasted >= RAN_WELL {
            self.wait = Duration::ZERO;
        }
        self.wait = (self.wait * 2).clamp(WAIT_MIN, WAIT_MAX);
        again.then(|| {
            self.count += 1;
            self.wait
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(exit_code: i32) -> Run {
        Run { exit_code, lasted: Duration::ZERO, by_person: false }
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_a_good_run_resets_it() {
        let mut restarts = Restarts::new(Restart::Always);
        let waits: Vec<u128> = (0..12).map(|_| restarts.after(run(0)).unwrap().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        let well = Run { lasted: RAN_WELL, ..run(1) };
        assert_eq!(restarts.after(well), Some(WAIT_MIN));
        assert_eq!(restarts.count, 13);
    }

    #[test]
    fn policies_decide_as_dockers() {
        let after = |policy, ended: Run| Restarts::new(policy).after(ended).is_some();
        let by_person = Run { by_person: true, ..run(1) };
        assert!(!after(Restart::No, run(1)));
        assert!(after(Restart::Always, by_person));
        assert!(after(Restart::UnlessStopped, run(0)));
        assert!(!after(Restart::UnlessStopped, by_person));
        assert!(!after(Restart::OnFailure { restarts_max: 0 }, run(0)));
        let mut failing = Restarts::new(Restart::OnFailure { restarts_max: 2 });
        let again: Vec<bool> = (0..3).map(|_| failing.after(run(1)).is_some()).collect();
        assert_eq!((again, failing.count), (vec![true, true, false], 2));
    }

    #[test]
    fn what_a_person_ended_stays_ended() {
        let mut restarts = Restarts::new(Restart::Always);
        restarts.cancelled = true;
        assert_eq!(restarts.after(run(1)), None);
    }
}
