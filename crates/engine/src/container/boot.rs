//! Before a reboot: ending all that runs. After it: what should run again.

use strata_runtime::spec::Restart;
use strata_runtime::{State, Status};

use crate::container::{Known, Listed, Remove, Stop, life};
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

    /// Asks all containers that run to end because the machine goes down, the newest first; gives them. They end side by
    /// side, each within its own time, and [`Engine::due_after_reboot`] knows them again.
    ///
    /// # Errors
    /// When records or states cannot be read.
    pub fn end_all(&self) -> Result<Vec<Known>> {
        let running = self.containers()?.into_iter().filter(|listed| listed.state.status.is_up());
        let mut asked = Vec::new();
        for Listed { known, .. } in running {
            match self.process(known.id()).end() {
                Ok(_) => {}
                // Whoever waits for its end is told why it does not come.
                Err(error) => tracing::debug!(%error, "a shim cannot be told that the machine goes down"),
            }
            asked.push(known);
        }
        Ok(asked)
    }

    /// Waits until a container has ended that [`Engine::end_all`] asked to.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn wait_for_end(&self, known: &Known) -> Result<()> {
        let process = self.process(known.id());
        if process.end()? {
            process.wait()?;
        }
        // Nobody looks after one whose shim was killed.
        if process.state()?.status.is_up() {
            self.stop_container(known, Stop::default())?;
        }
        Ok(())
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
