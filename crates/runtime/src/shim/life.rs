//! The runs of a container: one after another as its policy says, and what is recorded of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use strata_types::ErrorClass;

use super::health::Monitor;
use super::restart::Run;
use super::{SLOW_LOOK, Shim, launch, network, record, remove_socket, running};
use crate::events::{self, Event};
use crate::spec::{Restart, VolumeMount};
use crate::{Error, Health, State, Status};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its process lives, or its end was not taken in yet.
    Running,
    /// It will be started again then.
    Waiting(Instant),
    /// It has ended for good, and that is recorded.
    Over,
}

impl Shim {
    /// Does what has become due: takes in the end of a run, starts the next one, looks after its health.
    pub(super) fn go_on(&mut self) -> Result<(), Error> {
        if let Some(sandbox) = &mut self.sandbox
            && sandbox.deadline().is_some_and(|at| at <= Instant::now())
        {
            sandbox.turn();
        }
        self.end_by_force();
        match self.phase {
            Phase::Running => {
                self.look_after_health()?;
                let first = self.programs.iter().find(|program| program.number == self.first);
                match first.filter(|program| program.drained).and_then(|program| program.exit_code) {
                    Some(code) => self.end_run(code),
                    None => Ok(()),
                }
            }
            Phase::Waiting(_) if self.restarts.cancelled => self.finish(),
            Phase::Waiting(at) if at <= Instant::now() => self.run_again(),
            Phase::Waiting(_) | Phase::Over => Ok(()),
        }
    }

    /// How long nothing may become due.
    pub(super) fn patience(&self) -> Option<Duration> {
        let at = match self.phase {
            Phase::Running => self.monitor.as_ref().and_then(Monitor::due),
            Phase::Waiting(at) => Some(at),
            Phase::Over => None,
        };
        // Clients that take nothing are sent away after a while.
        let slow = self.clients.iter().any(|client| !client.patient && client.is_full());
        // A resolver that does not answer is given up.
        let network = self.sandbox.as_ref().and_then(strata_net::Sandbox::deadline);
        let left = [at, network, self.ending.due()]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        [left, slow.then_some(SLOW_LOOK)].into_iter().flatten().min()
    }

    /// Takes in the end of a run, and records it. Another one follows, or none.
    fn end_run(&mut self, code: i32) -> Result<(), Error> {
        self.end_checks();
        let disconnected = self.tidy();
        self.state.exit_code = code;
        self.state.pid = 0;
        self.state.finished_at = Some(Timestamp::now());
        let lasted = self.run_began.elapsed();
        let by_person = self.state.stopped_by_person;
        self.note_end(code, lasted);
        self.tell_end(disconnected);
        let Some(wait) = self.restarts.after(Run { exit_code: code, lasted, by_person }) else { return self.finish() };
        self.state.status = Status::Restarting;
        self.state.restarts = self.restarts.count;
        self.phase = Phase::Waiting(Instant::now() + wait);
        // Who attaches from now on means the next run.
        self.first = self.next_number;
        self.next_number += 1;
        self.record_end(false)
    }

    /// Removes what a run leaves behind; what is to be told of its networks.
    fn tidy(&mut self) -> Vec<Event> {
        if let Some(log) = &mut self.log
            && let Err(error) = log.end()
        {
            tracing::debug!(%error, "output is missing in the log");
        }
        self.state.oom_killed = self.cgroup.oom_kills() > 0;
        if let Some(runtime) = &self.runtime {
            super::external::tidy(runtime, self.id.as_str(), &self.places);
        }
        if !self.has_pids
            && let Err(error) = self.cgroup.kill()
        {
            tracing::debug!(%error, "processes of the container live on");
        }
        self.give_kept();
        let disconnected = self.of_networks("disconnect");
        if let Some(sandbox) = self.sandbox.take() {
            self.leaving = network::leave(sandbox);
            network::forget(&self.places.run_dir, &self.id);
        }
        let name = self.state.cgroup.as_deref().unwrap_or(self.id.as_str());
        let groups = self.cgroup.remove_with_added(name);
        if let Err(error) = &groups {
            tracing::debug!(%error, "control groups stay");
        }
        self.state.is_clean = groups.is_ok();
        disconnected
    }

    fn run_again(&mut self) -> Result<(), Error> {
        match self.try_run_again() {
            Ok(()) => {
                self.tell_begin();
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "not started again");
                self.state.error = crate::error::sentence(&error);
                self.state.exit_code = error.exit_code().into();
                self.finish()
            }
        }
    }

    fn try_run_again(&mut self) -> Result<(), Error> {
        let spec = record::spec(&record::spec_path(&self.places.run_dir, &self.id))?;
        let (mut launched, cgroup) = launch::first(&spec, &self.places, None)?;
        launched.program.number = self.first;
        let before = std::mem::replace(&mut self.state, running(launched.program.pid));
        self.state.cgroup = before.cgroup;
        self.state.restarts = before.restarts;
        self.state.stopped_by_person = before.stopped_by_person;
        self.state.finished_at = before.finished_at;
        self.state.health = spec.health.is_some().then(Health::starting);
        self.programs.push(launched.program);
        self.cgroup = cgroup;
        self.sandbox = launched.sandbox;
        self.monitor = spec.health.map(Monitor::new);
        self.run_began = Instant::now();
        self.phase = Phase::Running;
        self.record(false)
    }

    /// Records the end of the container, for good.
    fn finish(&mut self) -> Result<(), Error> {
        self.phase = Phase::Over;
        self.log = None;
        if self.ending.has_begun() {
            self.tell("stop", &[]);
        }
        self.state.status = Status::Exited;
        (self.state.pid, self.state.shim_pid) = (0, 0);
        self.state.is_clean &= remove_socket(&self.places.run_dir, &self.id);
        self.record_end(self.restarts.policy != Restart::No)
    }

    /// A person is about to end the container.
    pub(super) fn stopping(&mut self, cancel: bool) {
        self.state.stopped_by_person = true;
        self.restarts.cancelled |= cancel;
        if let Err(error) = self.record(self.restarts.policy != Restart::No) {
            tracing::debug!(%error, "not recorded that a person stopped it");
        }
    }

    /// Writes the state; one that a reboot asks for is synced.
    pub(super) fn record(&self, durably: bool) -> Result<(), Error> {
        let write: fn(&std::path::Path, &State) -> Result<(), Error> =
            if durably { record::write_durably } else { record::write };
        match write(&self.places.dir, &self.state) {
            // The container was removed under us, by force.
            Err(_) if !self.places.dir.exists() => Ok(()),
            other => other,
        }
    }

    /// Writes how a run ended. If there is no room even for that, those who wait hear it all the same.
    fn record_end(&self, durably: bool) -> Result<(), Error> {
        match self.record(durably) {
            Err(error) if error.class() == ErrorClass::Exhausted => {
                tracing::warn!(%error, "how the container ended is not recorded");
                Ok(())
            }
            other => other,
        }
    }

    fn note_end(&self, code: i32, lasted: Duration) {
        if self.state.oom_killed {
            self.tell("oom", &[]);
        }
        let (code, seconds) = (code.to_string(), lasted.as_secs().to_string());
        self.tell("die", &[("exitCode", &code), ("execDuration", &seconds)]);
    }

    /// Notes that volumes were mounted, networks connected and the container started. Steps of builds are no containers that
    /// somebody started.
    pub(super) fn tell_begin(&self) {
        let mount = |volume: &VolumeMount| {
            let more = [
                ("container", self.id.as_str()),
                ("destination", &volume.target),
                ("driver", "local"),
                ("propagation", ""),
                ("read/write", if volume.read_only { "false" } else { "true" }),
            ];
            event(events::Kind::Volume, "mount", &volume.name, &more)
        };
        let all: Vec<Event> = self.volumes.iter().map(mount).chain(self.of_networks("connect")).collect();
        events::record_all(&self.places.run_dir, &all);
        if !self.is_step {
            self.tell("start", &[]);
        }
    }

    /// Notes that networks were disconnected and volumes unmounted.
    pub(super) fn tell_end(&self, mut networks: Vec<Event>) {
        let more = [("container", self.id.as_str()), ("driver", "local")];
        let unmount = |volume: &VolumeMount| event(events::Kind::Volume, "unmount", &volume.name, &more);
        networks.extend(self.volumes.iter().map(unmount));
        events::record_all(&self.places.run_dir, &networks);
    }

    /// An event for each network.
    pub(super) fn of_networks(&self, action: &str) -> Vec<Event> {
        let endpoints = self.sandbox.iter().flat_map(|sandbox| sandbox.connected().endpoints);
        let of = |endpoint: strata_net::Endpoint| {
            let (name, kind) = (endpoint.network_name.as_str(), endpoint.driver.name());
            let more = [("container", self.id.as_str()), ("name", name), ("type", kind)];
            event(events::Kind::Network, action, &endpoint.network, &more)
        };
        endpoints.map(of).collect()
    }

    /// Notes an event about the container.
    pub(super) fn tell(&self, action: &str, more: &[(&str, &str)]) {
        let mut event = event(events::Kind::Container, action, self.id.as_str(), more);
        event.attributes.extend(self.attributes.clone());
        events::record(&self.places.run_dir, &event);
    }
}

/// Something that happens now.
fn event(kind: events::Kind, action: &str, id: &str, more: &[(&str, &str)]) -> Event {
    let attributes = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Event { kind, action: action.to_owned(), id: id.to_owned(), attributes, time: Timestamp::now() }
}
