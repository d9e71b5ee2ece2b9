//! One container, as seen from outside.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;
use strata_sys::cgroup::{Cgroup, Limits, Usage};
use strata_sys::signal::{self, Signal};
use strata_sys::{packet, process};
use strata_types::ContainerId;

use crate::logs::Logs;
use crate::recorded::{Alive, Recorded, wait_until};
use crate::shim::{network, record, remove_socket, socket_dir};
use crate::spec::{Network, Restart, TerminalSize};
use crate::wire::{self, Answer, Request, SOCKET, Wish};
use crate::{Ahead, Attach, Error, ExecSpec, Outcome, Session, Spec, State, Status, reexec};

/// A container's place on disk and, while it runs, its shim.
#[derive(Clone, Debug)]
pub struct Container {
    id: ContainerId,
    dir: PathBuf,
    run_dir: PathBuf,
    program: PathBuf,
}

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// Its first process, in the host's numbering.
    pub pid: i32,
    /// The connection, if one was asked for.
    pub session: Option<Session>,
    /// What could not be done as asked and was left out, a sentence each.
    pub warnings: Vec<String>,
}

/// Keeps a container's processes still until it is dropped.
#[derive(Debug)]
pub struct Held {
    _socket: OwnedFd,
}

impl Container {
    /// Names the container `id` whose files are in `dir` (`<root>/containers/<id>`); `run_dir` is the engine's. Touches
    /// nothing.
    pub fn at(id: ContainerId, dir: &Path, run_dir: &Path) -> Self {
        Self { id, dir: dir.to_owned(), run_dir: run_dir.to_owned(), program: PathBuf::from(reexec::OWN_PROGRAM) }
    }

    /// Uses another program than this one as shim; it must call [`reexec::main`]. For tests, whose own program does not.
    #[must_use]
    pub fn with_program(self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self }
    }

    /// Starts it: a shim is left behind that outlives the caller. With `attach` the caller is connected before the first
    /// byte of output. Returns when the program is being executed, or why it cannot be.
    pub fn start(&self, spec: &Spec, attach: Option<Attach<'_>>) -> Result<Started, Error> {
        self.start_by(None, spec, attach)
    }

    /// [`Container::start`] by a shim that runs already, if there is one.
    pub fn start_by(&self, ahead: Option<Ahead>, spec: &Spec, attach: Option<Attach<'_>>) -> Result<Started, Error> {
        let before = self.state()?;
        if before.status.is_up() {
            return Err(Error::AlreadyRunning(self.id.to_string()));
        }
        self.give_up_shim(&before)?;
        record::put_spec(&self.run_dir, spec)?;
        let Ahead { socket, program, new: _ } = ahead.map_or_else(|| reexec::spawn(&self.program), Ok)?;
        let (wish, streams) = attach.as_ref().map(Wish::of).map_or((None, Vec::new()), |(wish, fds)| (Some(wish), fds));
        let fds: Vec<_> = std::iter::once(program.as_fd()).chain(streams).collect();
        let request =
            Request::Start { id: self.id.clone(), dir: self.dir.clone(), run_dir: self.run_dir.clone(), attach: wish };
        wire::send(socket.as_fd(), &request, &fds, true).map_err(Error::step("speak to the shim"))?;
        started(wire::receive(&socket)?, socket, attach.is_some())
    }

    /// Says what it is doing now, by looking at its process.
    pub fn state(&self) -> Result<State, Error> {
        let state = self.recorded()?;
        if !state.status.is_up() {
            return Ok(state);
        }
        if !state.boot_id.is_empty() && state.boot_id != record::boot_id() {
            return Ok(state.after_reboot(booted()));
        }
        let shim = || shim_of(&state).alive();
        if state.status == Status::Restarting {
            return match shim() {
                Some(_) => Ok(state),
                None => Ok(without_shim(self.recorded()?)),
            };
        }
        if first_of(&state).alive().is_some() {
            let frozen = self.cgroup(&state).is_frozen();
            return Ok(State { status: if frozen { Status::Paused } else { Status::Running }, ..state });
        }
        // Its shim is about to record the end: that is worth waiting for.
        match shim() {
            Some(shim) => self.state_after(&shim, |now| now.pid != state.pid),
            None => Ok(without_shim(self.recorded()?)),
        }
    }

    /// Where files can be that go with its run: beside its shim's socket.
    pub fn run_files(&self) -> PathBuf {
        socket_dir(&self.run_dir, &self.id)
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn recorded(&self) -> Result<State, Error> {
        Ok(record::state(&self.dir)?.unwrap_or(State::created()))
    }

    /// The state that its shim is about to record: the first that `awaited` likes.
    fn state_after(&self, shim: &Alive, awaited: impl Fn(&State) -> bool) -> Result<State, Error> {
        /// A shim needs a moment to drain pipes and remove control groups; far below this.
        const RECORD_MAX: Duration = Duration::from_secs(10);
        const LOOK: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + RECORD_MAX;
        loop {
            let shim_ended = wait_until(shim.pidfd.as_fd(), Some(LOOK))?;
            let state = self.recorded()?;
            if awaited(&state) {
                return Ok(state);
            }
            if shim_ended {
                return Ok(without_shim(state));
            }
            if shim.is_stopped() || Instant::now() > deadline {
                return Ok(without_answer(state));
            }
        }
    }

    /// The specification it was started with last.
    pub fn spec(&self) -> Result<Spec, Error> {
        record::spec(&record::spec_path(&self.run_dir, &self.id))
    }

    /// Connects to its first process.
    pub fn attach(&self, attach: Attach<'_>) -> Result<Session, Error> {
        let socket = self.connect()?;
        let (wish, fds) = Wish::of(&attach);
        wire::send(socket.as_fd(), &Request::Attach(wish), &fds, true).map_err(Error::step("speak to the shim"))?;
        match self.hear(&socket)? {
            Some((Answer::Attached, _)) => Ok(Session::new(socket)),
            _ => Err(Error::NotRunning(self.id.to_string())),
        }
    }

    /// Starts another process in it; `session` is there if `attach` was given. The process outlives the caller.
    pub fn exec(&self, spec: &ExecSpec, attach: Option<Attach<'_>>) -> Result<Started, Error> {
        if self.state()?.status == Status::Paused {
            return Err(Error::Paused(self.id.to_string()));
        }
        let socket = self.connect()?;
        let (wish, fds) = attach.as_ref().map(Wish::of).map_or((None, Vec::new()), |(wish, fds)| (Some(wish), fds));
        let request = Request::Exec { spec: Box::new(spec.clone()), attach: wish };
        wire::send(socket.as_fd(), &request, &fds, true).map_err(Error::step("speak to the shim"))?;
        started(self.hear(&socket)?, socket, attach.is_some())
    }

    /// Tells its terminal a size.
    pub fn resize(&self, size: TerminalSize) -> Result<(), Error> {
        let socket = self.connect()?;
        wire::send(socket.as_fd(), &Request::Resize(size), &[], true).map_err(Error::step("speak to the shim"))
    }

    /// Connects it to one more network, in this run and in those by its policy.
    pub fn connect_network(&self, attachment: &strata_net::Attachment) -> Result<(), Error> {
        self.ask(&Request::Connect(Box::new(attachment.clone())))?;
        self.change_plan(|plan| plan.attachments.push(attachment.clone()))
    }

    /// Disconnects it from the network with this id.
    pub fn disconnect_network(&self, network: &str) -> Result<(), Error> {
        self.ask(&Request::Disconnect(network.to_owned()))?;
        self.change_plan(|plan| plan.attachments.retain(|attachment| attachment.network.id != network))
    }

    /// Tells its shim what it is called from now on, if it runs.
    pub fn rename(&self, name: &str) -> Result<(), Error> {
        match self.ask(&Request::Rename(name.to_owned())) {
            Err(Error::NotRunning(_)) => return Ok(()),
            other => other?,
        }
        self.change_plan(|plan| plan.rename(name))
    }

    /// Changes what its next runs are connected to.
    fn change_plan(&self, change: impl FnOnce(&mut strata_net::Plan)) -> Result<(), Error> {
        let mut spec = self.spec()?;
        let Network::Connected(plan) = &mut spec.namespaces.network else { return Ok(()) };
        change(plan);
        record::put_spec(&self.run_dir, &spec)
    }

    /// Asks the shim for something that it says when it is done.
    fn ask(&self, request: &Request) -> Result<(), Error> {
        let socket = self.connect()?;
        wire::send(socket.as_fd(), request, &[], true).map_err(Error::step("speak to the shim"))?;
        match self.hear(&socket)? {
            Some((Answer::Done, _)) => Ok(()),
            Some((Answer::Failed { kind, text }, _)) => Err(kind.error(text)),
            _ => Err(Error::ShimGone),
        }
    }

    fn connect(&self) -> Result<OwnedFd, Error> {
        let not_running = || Error::NotRunning(self.id.to_string());
        let dir = match process::open_dir(&socket_dir(&self.run_dir, &self.id)) {
            Err(Errno::NOENT) => return Err(not_running()),
            other => other.map_err(Error::step("find the shim"))?,
        };
        let socket = match packet::connect(dir.as_fd(), SOCKET) {
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Err(not_running()),
            other => other.map_err(Error::step("connect to the shim"))?,
        };
        // What is sent to one that is stopped stays on the way, with the descriptors in it.
        self.refuse_stopped()?;
        Ok(socket)
    }

    fn refuse_stopped(&self) -> Result<(), Error> {
        let shim = shim_of(&self.recorded()?);
        match shim.alive() {
            Some(alive) if alive.is_stopped() => Err(Error::ShimSilent { id: self.id.to_string(), pid: shim.pid }),
            _ => Ok(()),
        }
    }

    /// Its first process.
    fn first(&self) -> Result<(State, Alive), Error> {
        let state = self.state()?;
        let found = if state.status.is_alive() { first_of(&state).alive() } else { None };
        found.map(|found| (state, found)).ok_or_else(|| Error::NotRunning(self.id.to_string()))
    }

    /// Sends its first process a signal. A paused container goes on to be killed.
    pub fn kill(&self, signal: Signal) -> Result<(), Error> {
        let (state, first) = self.first()?;
        self.send(&first, signal)?;
        if state.status == Status::Paused && signal == Signal::KILL {
            self.freeze(false)?;
        }
        Ok(())
    }

    fn send(&self, first: &Alive, signal: Signal) -> Result<(), Error> {
        match signal::send(first.pidfd.as_fd(), signal) {
            Err(Errno::SRCH) => Err(Error::NotRunning(self.id.to_string())),
            other => other.map_err(Error::step("send a signal")),
        }
    }

    /// Tells its shim that a person is about to end it: after a reboot it is not started by itself, and with `cancel` its
    /// policy does not start it again either. A container that does not run needs not be told.
    pub fn hold(&self, cancel: bool) -> Result<(), Error> {
        self.note(&Request::Stopping { cancel })
    }

    /// Has it started again by another policy from now on.
    pub fn set_restart(&self, policy: Restart) -> Result<(), Error> {
        self.note(&Request::Restart(policy))
    }

    /// Has its shim end it in order because the machine goes down; no if no shim looks after it. Returns before it has ended.
    pub fn end(&self) -> Result<bool, Error> {
        match self.connect() {
            Err(Error::NotRunning(_)) => Ok(false),
            Err(error) => Err(error),
            Ok(_) => self.note(&Request::End).map(|()| true),
        }
    }

    fn note(&self, request: &Request) -> Result<(), Error> {
        let socket = match self.connect() {
            Err(Error::NotRunning(_)) => return Ok(()),
            other => other?,
        };
        match wire::send(socket.as_fd(), request, &[], true) {
            // It has just ended.
            Err(Errno::PIPE) => return Ok(()),
            other => other.map_err(Error::step("speak to the shim"))?,
        }
        self.hear(&socket).map(drop)
    }

    /// Hears what its shim says. One that is stopped says nothing.
    fn hear(&self, socket: &OwnedFd) -> Result<Option<(Answer, Vec<OwnedFd>)>, Error> {
        /// Nothing that is asked for takes nearly as long.
        const ANSWER_MAX: Duration = Duration::from_secs(60);
        const LOOK: Duration = Duration::from_millis(50);
        let deadline = Instant::now() + ANSWER_MAX;
        while !wait_until(socket.as_fd(), Some(LOOK))? {
            self.refuse_stopped()?;
            if Instant::now() > deadline {
                return Err(Error::ShimSilent { id: self.id.to_string(), pid: self.recorded()?.shim_pid });
            }
        }
        wire::receive(socket)
    }

    /// Ends a shim that has not recorded the end of its container, which runs no more, and records it instead. It would
    /// take what is made from now on for its own.
    fn give_up_shim(&self, state: &State) -> Result<(), Error> {
        let Some(shim) = shim_of(state).alive() else { return Ok(()) };
        tracing::warn!(container = %self.id, pid = state.shim_pid, "its shim does not answer and is ended");
        if !shim.kill()? {
            return Err(Error::ShimSilent { id: self.id.to_string(), pid: state.shim_pid });
        }
        record::write(&self.dir, &State { shim_pid: 0, is_clean: false, ..state.clone() })
    }

    /// Sends `signal`, and SIGKILL after `timeout` (never, without). Returns its state when it has ended, for good; a
    /// container that does not run is left alone. A shim that does not answer ends with the container.
    pub fn stop(&self, signal: Signal, timeout: Option<Duration>) -> Result<State, Error> {
        match self.hold(true) {
            Err(Error::ShimSilent { .. }) => {
                self.stop_first(signal, timeout)?;
                self.cleanup()?;
                self.state()
            }
            held => held.and_then(|()| self.stop_first(signal, timeout)),
        }
    }

    fn stop_first(&self, signal: Signal, timeout: Option<Duration>) -> Result<State, Error> {
        let (state, first) = match self.first() {
            Err(Error::NotRunning(_)) => return self.settled(),
            other => other?,
        };
        match self.send(&first, signal) {
            Ok(()) | Err(Error::NotRunning(_)) => {}
            Err(error) => return Err(error),
        }
        if state.status == Status::Paused {
            self.freeze(false)?;
        }
        if !wait_until(first.pidfd.as_fd(), timeout)? {
            match self.kill(Signal::KILL) {
                Ok(()) | Err(Error::NotRunning(_)) => {}
                Err(error) => return Err(error),
            }
            wait_until(first.pidfd.as_fd(), None)?;
        }
        self.settled()
    }

    /// Its state, after one that waits to be started again has given that up.
    fn settled(&self) -> Result<State, Error> {
        let state = self.state()?;
        match shim_of(&state).alive() {
            Some(shim) if state.status == Status::Restarting => self.state_after(&shim, |now| !now.status.is_up()),
            _ => Ok(state),
        }
    }

    /// Waits until it does not run, and its end is recorded. One that was never started is returned at once; one that waits
    /// to be started again is waited for until it ends the next time.
    pub fn wait(&self) -> Result<State, Error> {
        let state = self.state()?;
        if !state.status.is_up() {
            return Ok(state);
        }
        self.wait_from(state)
    }

    fn wait_from(&self, state: State) -> Result<State, Error> {
        // The shim tells the code even if the container's files are removed at once.
        let outcome = match self.connect() {
            Ok(socket) => {
                wire::send(socket.as_fd(), &Request::Attach(Wish::default()), &[], true).or_else(
                    |errno| match errno {
                        // It has ended, and said so already.
                        Errno::PIPE => Ok(()),
                        errno => Err(Error::step("speak to the shim")(errno)),
                    },
                )?;
                self.outcome(&socket, &state)?
            }
            Err(Error::NotRunning(_)) => Outcome::Lost,
            Err(Error::ShimSilent { .. }) => {
                if let Some(first) = first_of(&state).alive() {
                    wait_until(first.pidfd.as_fd(), None)?;
                }
                Outcome::Lost
            }
            Err(error) => return Err(error),
        };
        let recorded = self.state()?;
        Ok(match outcome {
            // It may be running again by now, or be removed.
            Outcome::Exited(exit_code) if recorded.status == Status::Created || recorded.status.is_up() => {
                State { status: Status::Exited, exit_code, pid: 0, shim_pid: 0, ..state }
            }
            _ => recorded,
        })
    }

    /// Waits until its shim says that it has ended; not for a shim that does not say it.
    fn outcome(&self, socket: &OwnedFd, state: &State) -> Result<Outcome, Error> {
        const LOOK: Duration = Duration::from_millis(100);
        loop {
            if wait_until(socket.as_fd(), Some(LOOK))? {
                match wire::receive(socket)? {
                    Some((Answer::Exited(code), _)) => return Ok(Outcome::Exited(code)),
                    Some(_) => {}
                    None => return Ok(Outcome::Lost),
                }
            } else if state.status.is_alive() && first_of(state).exit_code().is_some() && !self.state()?.status.is_up()
            {
                return Ok(Outcome::Lost);
            }
        }
    }

    /// Freezes its processes.
    pub fn pause(&self) -> Result<(), Error> {
        match self.first()?.0.status {
            Status::Paused => Err(Error::Paused(self.id.to_string())),
            _ => self.freeze(true),
        }
    }

    /// Lets its frozen processes go on.
    pub fn unpause(&self) -> Result<(), Error> {
        match self.first()?.0.status {
            Status::Paused => self.freeze(false),
            _ => Err(Error::NotPaused(self.id.to_string())),
        }
    }

    fn cgroup(&self, state: &State) -> Cgroup {
        Cgroup::open(state.cgroup.as_deref().unwrap_or(self.id.as_str()))
    }

    /// Sets other limits for it while it runs, and for its next runs; what could not be limited, a sentence each.
    pub fn update(&self, limits: &Limits) -> Result<Vec<String>, Error> {
        let (state, _first) = self.first()?;
        let name = state.cgroup.as_deref().unwrap_or(self.id.as_str());
        let warnings = Cgroup::update(name, limits).map_err(Error::io("change the container's limits"))?;
        let mut spec = self.spec()?;
        spec.limits = limits.clone();
        record::put_spec(&self.run_dir, &spec)?;
        Ok(warnings)
    }

    /// What it uses; nothing if it does not run.
    pub fn usage(&self) -> Result<Option<(State, Usage)>, Error> {
        let state = self.state()?;
        if !state.status.is_alive() {
            return Ok(None);
        }
        let usage = self.cgroup(&state).usage();
        Ok(Some((state, usage)))
    }

    fn freeze(&self, frozen: bool) -> Result<(), Error> {
        let act = if frozen { "freeze the container" } else { "thaw the container" };
        self.cgroup(&self.recorded()?).freeze(frozen).map_err(|error| match error.kind() {
            std::io::ErrorKind::Unsupported => {
                let why = "it has no control group, because none is delegated to you or the host has none";
                Error::Unsupported(format!("cannot {act}: {why}"))
            }
            _ => Error::io(act)(error),
        })
    }

    /// Keeps its processes still as long as what is returned lives: they go on even if this process is killed. None if
    /// it does not run, is paused, or the host cannot freeze it.
    pub fn hold_still(&self) -> Result<Option<Held>, Error> {
        let socket = match self.connect() {
            Err(Error::NotRunning(_)) => return Ok(None),
            other => other?,
        };
        match wire::send(socket.as_fd(), &Request::Hold, &[], true) {
            // It has just ended.
            Err(Errno::PIPE) => return Ok(None),
            other => other.map_err(Error::step("speak to the shim"))?,
        }
        let answer = self.hear(&socket)?;
        Ok(matches!(answer, Some((Answer::Held(true), _))).then_some(Held { _socket: socket }))
    }

    /// Its processes, in the host's numbering, lowest first.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let (state, _first) = self.first()?;
        let pids = self.cgroup(&state).pids().map_err(Error::io("list the container's processes"))?;
        Ok(if pids.is_empty() { vec![state.pid] } else { pids })
    }

    /// What it is connected to, if it runs and has networks of its own.
    pub fn connected(&self) -> Result<strata_net::Connected, Error> {
        network::connected(&self.run_dir, &self.id)
    }

    /// Its output so far and to come.
    pub fn logs(&self) -> Logs {
        Logs::in_dir(&self.dir)
    }

    /// Removes what a container that does not run has left outside its directory: processes, control groups, socket. May
    /// be repeated.
    pub fn cleanup(&self) -> Result<(), Error> {
        let state = self.state()?;
        if state.status.is_up() {
            return Err(Error::AlreadyRunning(self.id.to_string()));
        }
        if state.is_clean {
            return Ok(());
        }
        self.give_up_shim(&state)?;
        let cgroup = self.cgroup(&state);
        if cgroup.is_frozen() {
            // Frozen processes do not even die.
            self.freeze(false)?;
        }
        cgroup.kill().and_then(|()| cgroup.remove()).map_err(Error::io("remove the container's control groups"))?;
        network::forget(&self.run_dir, &self.id);
        // What stays is an empty directory or a socket without a listener.
        let _gone = remove_socket(&self.run_dir, &self.id);
        Ok(())
    }
}

/// The state of a container whose shim is gone: what the shim recorded last, unless that was not the end.
fn without_shim(state: State) -> State {
    match state.status {
        Status::Restarting => State { status: Status::Exited, shim_pid: 0, ..state },
        status if status.is_alive() => State { status: Status::Dead, pid: 0, shim_pid: 0, exit_code: 137, ..state },
        _ => state,
    }
}

/// The state of a container whose first process has ended while its shim, which lives, does not say so. How it ended the
/// kernel knows as long as the shim has not asked.
fn without_answer(state: State) -> State {
    let code = first_of(&state).exit_code();
    match state.status {
        Status::Restarting => State { status: Status::Exited, ..state },
        status if status.is_alive() => {
            let status = if code.is_some() { Status::Exited } else { Status::Dead };
            State { status, pid: 0, exit_code: code.unwrap_or(137), ..state }
        }
        _ => state,
    }
}

fn first_of(state: &State) -> Recorded {
    Recorded { pid: state.pid, started_ticks: state.pid_started_ticks }
}

fn shim_of(state: &State) -> Recorded {
    Recorded { pid: state.shim_pid, started_ticks: state.shim_started_ticks }
}

/// When the machine came up.
fn booted() -> Timestamp {
    Timestamp::now().checked_sub(strata_sys::clock::since_boot()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether something was started, by what the shim said.
fn started(answer: Option<(Answer, Vec<OwnedFd>)>, socket: OwnedFd, attached: bool) -> Result<Started, Error> {
    match answer {
        Some((Answer::Started { pid, warnings }, _)) => {
            Ok(Started { pid, warnings, session: attached.then(|| Session::new(socket)) })
        }
        Some((Answer::Failed { kind, text }, _)) => Err(kind.error(text)),
        _ => Err(Error::ShimGone),
    }
}
