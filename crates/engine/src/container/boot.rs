//! After a reboot: what should run again.

use strata_runtime::spec::Restart;
use strata_runtime::{State, Status};

use crate::container::{Known, Remove, life};
use crate::{Engine, Result};

impl Engine {
    /// The containers that do not run and should, by their policies, since nobody stopped them; the oldest first.
    /// Containers with `--rm` that the end of the machine ended are removed.
    ///
    /// # Errors
    /// When records or states cannot be read.
    pub fn due_after_reboot(&self) -> Result<Vec<Known>> {
        let mut due = Vec::new();
        for listed in self.containers()? {
            let (known, state) = (listed.known, listed.state);
            if known.document.host.auto_remove && matches!(state.status, Status::Exited | Status::Dead) {
                self.remove_container(&known, Remove { force: false, volumes: true })?;
            } else if is_due(life::restart(&known.document.host.restart_policy), &state) {
                due.push(known);
            }
        }
        due.reverse();
        Ok(due)
    }
}

/// Whether a policy wants a container in this state to run.
fn is_due(policy: Restart, state: &State) -> bool {
    // One that was never started is nobody's wish.
    if !matches!(state.status, Status::Exited | Status::Dead) {
        return false;
    }
    match policy {
        Restart::No => false,
        Restart::Always => true,
        Restart::UnlessStopped => !state.stopped_by_person,
        Restart::OnFailure { restarts_max } => {
            let left = restarts_max == 0 || state.restarts < restarts_max;
            state.exit_code != 0 && left && !state.stopped_by_person
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_decide_what_a_reboot_brings_back() {
        let ended = |exit_code, stopped_by_person| State {
            status: Status::Exited,
            exit_code,
            stopped_by_person,
            restarts: 2,
            ..State::created()
        };
        let on_failure = |restarts_max| Restart::OnFailure { restarts_max };
        for (policy, state, due) in [
            (Restart::No, ended(255, false), false),
            (Restart::Always, ended(0, true), true),
            (Restart::Always, State::created(), false),
            (Restart::UnlessStopped, ended(255, false), true),
            (Restart::UnlessStopped, ended(0, true), false),
            (Restart::UnlessStopped, State { status: Status::Running, ..ended(0, false) }, false),
            (on_failure(0), ended(255, false), true),
            (on_failure(2), ended(1, false), false),
            (on_failure(0), ended(0, false), false),
        ] {
            assert_eq!(is_due(policy, &state), due, "{policy:?} {state:?}");
        }
    }
}
