//! Starting, signalling, asking for and deleting containers.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use strata_sys::clock;
use strata_sys::packet::{self, Packet};
use strata_sys::signal::{self, Signal};
use strata_types::runtime_spec::Config;

use super::agent::Agent;
use super::record::{Place, Record, StateDocument, Status};
use super::systemd::{Manager, Systemd};
use super::{Error, Runtime, START, create, hooks};
use crate::inside::message;

impl Runtime {
    pub(super) fn known(&self, id: &str) -> Result<(Place, Record), Error> {
        let place = Place::of(&self.root, id)?;
        let known = place.read()?;
        Ok((place, known))
    }

    /// What a container is doing.
    pub fn state(&self, id: &str) -> Result<StateDocument, Error> {
        let (place, known) = self.known(id)?;
        Ok(StateDocument::new(&known, place.status(&known)))
    }

    /// Starts a created container: returns when its program is being executed. What of it went wrong without harm is
    /// returned.
    pub fn start(&self, id: &str) -> Result<Vec<Error>, Error> {
        let (place, known) = self.known(id)?;
        match place.status(&known) {
            Status::Created => {}
            Status::Stopped => return Err(Error::Stopped),
            Status::Creating | Status::Running | Status::Paused => return Err(Error::Running),
        }
        let socket = place.connect().ok_or(Error::Running)?;
        packet::send(socket.as_fd(), START, &[], true).map_err(crate::Error::step("speak to the container"))?;
        let config = place.config()?;
        let mut heard = false;
        loop {
            let answer = packet::receive(socket.as_fd()).map_err(crate::Error::step("hear from the container"))?;
            let Some(answer) = answer else { break };
            let (kind, text) = answer.bytes.split_first().unwrap_or((&0, &[]));
            match *kind {
                message::READY => heard = true,
                message::LISTENER => {
                    // It waits for the answer, and ends without one.
                    let state = StateDocument::new(&known, Status::Creating);
                    listen(&config, &answer, &state, known.pid)?;
                    create::go_on(&socket)?;
                }
                kind => return Err(Error::Start(message::error(kind, text))),
            }
        }
        if !heard {
            return Err(Error::Running);
        }
        let state = StateDocument::new(&known, Status::Running);
        Ok(hooks::run_all("poststart", &config.hooks.poststart, &text(&state), &known.bundle))
    }

    /// Sends a signal to its first process, or to all of its processes.
    pub fn kill(&self, id: &str, signal: Signal, all: bool) -> Result<(), Error> {
        let (_, known) = self.known(id)?;
        if all {
            return signal_all(&known, signal);
        }
        let process = known.process().ok_or(Error::NotRunning)?;
        match signal::send(process.as_fd(), signal) {
            Err(rustix::io::Errno::SRCH) => Err(Error::NotRunning),
            sent => Ok(sent.map_err(crate::Error::step("signal the container's process"))?),
        }
    }

    /// Removes a stopped container; with `force` whatever it does, and also if it is not there. What of it went wrong
    /// without harm is returned.
    pub fn delete(&self, id: &str, force: bool) -> Result<Vec<Error>, Error> {
        let place = Place::of(&self.root, id)?;
        let known = match place.read() {
            // A creation that was killed leaves a directory.
            Err(Error::Unknown | Error::Step(crate::Error::Document { .. })) if force => {
                place.remove()?;
                return Ok(Vec::new());
            }
            known => known?,
        };
        match place.status(&known) {
            Status::Stopped => {}
            status if !force => return Err(Error::NotStopped { id: id.to_owned(), status }),
            _ => end(&known)?,
        }
        let config = place.config();
        clear(&known, &self.systemd)?;
        place.remove()?;
        let state = text(&StateDocument::new(&known, Status::Stopped));
        Ok(config
            .map(|config| hooks::run_all("poststop", &config.hooks.poststop, &state, &known.bundle))
            .unwrap_or_else(|error| vec![error]))
    }
}

/// Gives the agent of the configuration the descriptor that came with a message.
pub(super) fn listen(config: &Config, message: &Packet, state: &StateDocument, pid: i32) -> Result<(), Error> {
    let agent = Agent::of(config.linux.seccomp.as_ref());
    let (Some(agent), Some(listener)) = (agent, message.fds.first()) else {
        return Err(Error::Config("nobody listens for system calls".to_owned()));
    };
    agent.tell(listener, pid, state)
}

/// The state in JSON.
pub(super) fn text(state: &StateDocument) -> String {
    serde_json::to_string(state).unwrap_or_default()
}

fn signal_all(known: &Record, signal: Signal) -> Result<(), Error> {
    let pids = known.cgroup().all_pids().map_err(crate::Error::io("list the container's processes"))?;
    for pid in pids {
        // One that has ended meanwhile needs no signal.
        if let Ok(process) = strata_sys::process::open(pid)
            && let Err(errno) = signal::send(process.as_fd(), signal)
        {
            tracing::debug!(%errno, pid, "not signalled");
        }
    }
    Ok(())
}

/// Ends its first process, and waits for that.
fn end(known: &Record) -> Result<(), Error> {
    /// A killed process needs a moment; far below this.
    const END_MAX: Duration = Duration::from_secs(10);
    let Some(process) = known.process() else { return Ok(()) };
    let cgroup = known.cgroup();
    match signal::send(process.as_fd(), Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(crate::Error::step("end the container's process")(errno).into()),
    }
    if cgroup.is_frozen() {
        // Frozen processes do not even die.
        cgroup.freeze(false).map_err(crate::Error::io("let the container's processes go on"))?;
    }
    let deadline = Instant::now() + END_MAX;
    while known.is_alive() && Instant::now() < deadline {
        clock::pause(Duration::from_millis(1));
    }
    Ok(())
}

/// Ends what is left of its processes and removes its control groups. Those that were there before it stay.
pub(super) fn clear(known: &Record, systemd: &Systemd) -> Result<(), Error> {
    let cleared = if known.has_own_cgroup { clear_groups(known, systemd) } else { Ok(()) };
    known.class.remove().and(cleared)
}

fn clear_groups(known: &Record, systemd: &Systemd) -> Result<(), Error> {
    let cgroup = known.cgroup();
    if cgroup.is_frozen() {
        cgroup.freeze(false).map_err(crate::Error::io("let the container's processes go on"))?;
    }
    let ended = cgroup.kill();
    if let Some(unit) = &known.unit {
        // It is going anyway, as it has no processes; but whoever makes the next one of its name should find none.
        let stop = |manager: &mut Manager| manager.stop(unit.name()).map_err(crate::Error::io("stop the unit"));
        if let Err(error) = systemd.connect().and_then(|mut manager| Ok(stop(&mut manager)?)) {
            tracing::debug!(%error, "the container's unit is left to systemd");
        }
    }
    let removed = ended.and_then(|()| cgroup.remove_all());
    Ok(removed.map_err(crate::Error::io("remove the container's control groups"))?)
}
