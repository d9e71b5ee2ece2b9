//! The shim: one for each container, one thread, one loop.
//!
//! It makes the container, reads what its processes write, keeps it in the log and passes it on, passes input to them,
//! starts further processes, asks it for its health, and records how the first one ended. Then it starts the container
//! again if its policy says so, or removes what is left and ends.

mod ahead;
mod aside;
mod client;
mod end;
mod external;
mod health;
mod journal;
mod kept;
mod launch;
mod life;
pub(crate) mod log;
pub(crate) mod network;
mod program;
pub(crate) mod record;
mod restart;
pub use kept::tell_joined;
pub use record::started_ticks;
mod serve;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use strata_sys::cgroup::Cgroup;
use strata_sys::idle::Idle;
use strata_sys::signal::{self, Signal, SignalFd};
use strata_sys::{packet, process};
use strata_types::ContainerId;

use self::ahead::FirstAhead;
use self::aside::Keeper;
use self::client::Client;
use self::end::Ending;
use self::health::Monitor;
use self::kept::Kept;
use self::launch::Places;
use self::life::Phase;
use self::program::{Program, READ_BYTES};
use self::restart::Restarts;
use crate::reexec::New;
use crate::spec::{End, Restart};
use crate::wire::{self, Answer, Failure, Request, SOCKET, Wish};
use crate::{Error, Health, State, Status, Stream};

/// How often slow clients are looked at while a program waits for one.
const SLOW_LOOK: Duration = Duration::from_secs(1);
/// So often one output is read before others have their turn: a program that never stops printing must not keep the shim
/// from those who want to stop it.
const READS_PER_TURN: usize = 16;
/// How long nothing has to happen until memory is given back while it waits. A program that ends at once, or that says
/// something ten times a second, is not made to wait for it.
const QUIET: Duration = Duration::from_millis(500);

/// A running container.
struct Shim {
    id: ContainerId,
    places: Places,
    listener: OwnedFd,
    log: Option<Keeper>,
    cgroup: Cgroup,
    sandbox: Option<strata_net::Sandbox>,
    /// Namespaces of the first run that the next container may have.
    kept: Option<Kept>,
    /// The connections of a run that has ended, until everybody knows.
    leaving: Option<strata_net::Leaving>,
    programs: Vec<Program>,
    /// The number of the container's first process: in this run, or in the next one while it waits for that.
    first: u32,
    next_number: u32,
    phase: Phase,
    restarts: Restarts,
    monitor: Option<Monitor>,
    /// When this run began.
    run_began: Instant,
    attributes: std::collections::BTreeMap<String, String>,
    volumes: Vec<crate::spec::VolumeMount>,
    clients: Vec<Client>,
    state: State,
    has_pids: bool,
    /// Who made it, if not we.
    runtime: Option<PathBuf>,
    /// How the container is ended when the machine goes down.
    end: End,
    ending: Ending,
    /// Says that a child ended. Another runtime's helpers become our children, and a process id namespace cannot end as
    /// long as one of them, which has joined it, waits to be reaped.
    strays: Option<SignalFd>,
    /// The client that started the container and was told its end: it cleans up, as long as it lives.
    starter: Option<OwnedFd>,
    when_done: Vec<String>,
    /// See [`crate::Spec::is_step`].
    is_step: bool,
    buffer: Box<[u8]>,
    /// What it can do without while nothing happens, once that was so.
    idle: Option<Idle>,
    /// Nothing has happened for a while.
    is_quiet: bool,
}

/// Something that is waited for.
#[derive(Clone, Copy, Debug)]
enum Source {
    Listener,
    Ending,
    Strays,
    End(usize),
    Output(usize, Stream),
    Input(usize),
    Network,
    Log,
    Client(usize),
    ClientInput(usize),
    ClientOutput(usize, usize),
}

/// Runs a container from its start to its end, for whoever is at the other end of `socket`. Before that, `another` makes
/// further shims for those at the other ends of what it is given. If it is going to be a `new` container, what most
/// containers have is made while its specification is.
pub(crate) fn run(socket: OwnedFd, new: Option<&New>, another: impl Fn(OwnedFd)) -> Result<(), Error> {
    let begun = |new| FirstAhead::make(new).inspect_err(|error| tracing::debug!(%error, "nothing is made ahead")).ok();
    let ahead = new.and_then(begun);
    let (id, dir, run_dir, attach, mut fds) = loop {
        match wire::receive(&socket)? {
            Some((Request::Another, fds)) => fds.into_iter().for_each(&another),
            Some((Request::Start { id, dir, run_dir, attach }, fds)) => break (id, dir, run_dir, attach, fds),
            _ => return Err(Error::ShimGone),
        }
    };
    // The program's mount, kept to the end; the client's streams follow.
    let _program = (!fds.is_empty()).then(|| fds.remove(0));
    let mut client = Client::new(socket);
    match Shim::start(id, dir.clone(), run_dir, ahead) {
        Ok((mut shim, warnings)) => {
            client.say(&Answer::Started { pid: shim.state.pid, warnings });
            if let Some(wish) = attach {
                shim.attach(&mut client, shim.first, &wish, fds, true);
                shim.clients.push(client);
            }
            shim.serve()
        }
        Err(error) => {
            let failed = Failed::from(&error);
            record_failure(&dir, &error)?;
            client.say(&failed.answer());
            Ok(())
        }
    }
}

/// A failure on its way to a client.
struct Failed {
    kind: Failure,
    text: String,
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        Self { kind: Failure::of(error), text: crate::error::sentence(error) }
    }
}

impl Failed {
    fn answer(self) -> Answer {
        Answer::Failed { kind: self.kind, text: self.text }
    }
}

/// A container that could not be started stays as it was, but says why.
fn record_failure(dir: &std::path::Path, error: &Error) -> Result<(), Error> {
    let mut before = record::state(dir)?.unwrap_or(State::created());
    if before.status.is_up() {
        // An earlier shim died before it could record the end.
        before.status = Status::Exited;
    }
    let (error, exit_code) = (crate::error::sentence(error), i32::from(error.exit_code()));
    record::write(dir, &State { error, exit_code, pid: 0, shim_pid: 0, ..before })
}

impl Shim {
    fn start(
        id: ContainerId,
        dir: PathBuf,
        run_dir: PathBuf,
        ahead: Option<FirstAhead>,
    ) -> Result<(Self, Vec<String>), Error> {
        let spec = record::spec(&record::spec_path(&run_dir, &id))?;
        let socket_dir = socket_dir(&run_dir, &id);
        let listen_in =
            process::open_dir(&socket_dir).map_err(Error::path("open", socket_dir.display().to_string()))?;
        let listener = packet::listen(listen_in.as_fd(), SOCKET).map_err(Error::step("listen for clients"))?;
        let log = Keeper::open(&dir, &spec.log).map_err(Error::path("open the log in", dir.display().to_string()))?;
        let places = Places { dir, run_dir };
        let strays = match spec.runtime {
            Some(_) => Some(SignalFd::block(&[Signal::CHLD]).map_err(Error::step("hear of children"))?),
            None => None,
        };
        let ending = Ending::expect()?;
        let (launched, cgroup) = launch::first(&spec, &places, ahead)?;
        let mut state = running(launched.program.pid);
        state.cgroup = Some(Cgroup::name(spec.id.as_str(), &spec.limits)).filter(|name| name != spec.id.as_str());
        state.health = spec.health.is_some().then(Health::starting);
        let shim = Self {
            id,
            places,
            listener,
            log,
            cgroup,
            sandbox: launched.sandbox,
            kept: launched.kept,
            leaving: None,
            programs: vec![launched.program],
            first: 0,
            next_number: 1,
            phase: Phase::Running,
            restarts: Restarts::new(spec.restart),
            monitor: spec.health.map(Monitor::new),
            run_began: Instant::now(),
            attributes: spec.attributes,
            volumes: spec.volumes,
            clients: Vec::new(),
            state,
            has_pids: spec.namespaces.pid,
            runtime: spec.runtime,
            end: spec.end,
            ending,
            strays,
            starter: None,
            when_done: spec.when_done,
            is_step: spec.is_step,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            idle: None,
            is_quiet: false,
        };
        shim.record(shim.restarts.policy != Restart::No)?;
        shim.tell_begin();
        Ok((shim, launched.warnings))
    }

    /// Serves until the container has ended and everybody knows.
    fn serve(mut self) -> Result<(), Error> {
        loop {
            self.go_on()?;
            let over = self.phase == Phase::Over;
            self.tell_ends(over);
            network::finish(self.leaving.take());
            if over && self.clients.is_empty() && !self.accept_late() {
                break;
            }
            let ready = self.wait_quietly()?;
            for (source, flags) in ready {
                self.handle(source, flags)?;
            }
            self.drain_ended();
            self.let_go();
            self.clients.retain(|client| !client.gone && !client.is_too_slow());
        }
        self.when_done()
    }

    /// Waits until something can be done, and says what: none if something has become due, or if it was quiet for so long
    /// that memory is given back when it waits again.
    fn wait_quietly(&mut self) -> Result<Vec<(Source, PollFlags)>, Error> {
        let due = self.patience();
        let listens = !self.is_quiet && due.is_none_or(|due| due > QUIET);
        let ready = self.wait(if listens { Some(QUIET) } else { due })?;
        self.is_quiet = listens && ready.is_empty();
        if self.is_quiet {
            self.idle.get_or_insert_with(Idle::find);
        }
        Ok(ready)
    }

    /// Waits until something can be done, and says what.
    fn wait(&self, patience: Option<Duration>) -> Result<Vec<(Source, PollFlags)>, Error> {
        let mut sources = vec![Source::Listener];
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let mut add = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        add(Source::Ending, self.ending.signals.as_fd(), PollFlags::IN);
        if let Some(strays) = &self.strays {
            add(Source::Strays, strays.as_fd(), PollFlags::IN);
        }
        for (index, program) in self.programs.iter().enumerate() {
            if program.exit_code.is_none() {
                add(Source::End(index), program.pidfd.as_fd(), PollFlags::IN);
            }
            if !self.is_held_up(program.number) {
                for (stream, fd) in program.readable() {
                    add(Source::Output(index, stream), fd.as_fd(), PollFlags::IN);
                }
            }
            if let Some(fd) = program.writable() {
                add(Source::Input(index), fd.as_fd(), PollFlags::OUT);
            }
        }
        for (fd, flags) in self.sandbox.iter().flat_map(strata_net::Sandbox::sources) {
            add(Source::Network, fd, flags);
        }
        if let Some(fd) = self.log.as_ref().and_then(Keeper::waits) {
            add(Source::Log, fd, PollFlags::OUT);
        }
        for (index, client) in self.clients.iter().enumerate() {
            add(Source::Client(index), client.socket.as_fd(), PollFlags::IN);
            let program = self.programs.iter().find(|program| Some(program.number) == client.program);
            if let (Some(stdin), Some(program)) = (&client.stdin, program)
                && program.takes_input()
            {
                add(Source::ClientInput(index), stdin.as_fd(), PollFlags::IN);
            }
            for (number, output) in client.outputs.iter().enumerate() {
                if let Some(output) = output.as_ref().filter(|output| output.waits()) {
                    add(Source::ClientOutput(index, number), output.fd.as_fd(), PollFlags::OUT);
                }
            }
        }
        let patience =
            patience.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let waited = match &self.idle {
            Some(idle) if self.is_quiet => idle.wait(&mut fds, patience.as_ref()),
            _ => poll(&mut fds, patience.as_ref()),
        };
        match waited {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::step("wait for something to do")(errno)),
        }
        let ready = sources.into_iter().zip(&fds).map(|(source, fd)| (source, fd.revents()));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    /// Whether somebody who is to get a program's output has too much of it already.
    fn is_held_up(&self, program: u32) -> bool {
        self.clients.iter().any(|client| client.program == Some(program) && client.is_full())
    }

    /// Reads a program's output as long as there is some, nobody is held up, and others have not waited for long; whether
    /// there is no more now.
    fn pump(&mut self, index: usize, stream: Stream) -> bool {
        let number = self.programs[index].number;
        for _ in 0..READS_PER_TURN {
            if self.is_held_up(number) {
                return false;
            }
            let Some(read) = self.programs[index].read(stream, &mut self.buffer) else { return true };
            let bytes = &self.buffer[..read];
            if number == self.first
                && let Some(log) = &mut self.log
                && let Err(error) = log.write(stream, bytes)
            {
                // A full disk must not stop the container.
                tracing::debug!(%error, "output is missing in the log");
            }
            if let Some(monitor) = &mut self.monitor {
                monitor.hear(number, bytes);
            }
            for client in self.clients.iter_mut().filter(|client| client.program == Some(number)) {
                client.write(stream, bytes);
            }
        }
        false
    }

    /// Reads what programs that have ended left behind.
    fn drain_ended(&mut self) {
        for index in 0..self.programs.len() {
            if self.programs[index].exit_code.is_some() && !self.programs[index].drained {
                let all = self.pump(index, Stream::Stdout) & self.pump(index, Stream::Stderr);
                self.programs[index].drained = all;
                let Program { number, exit_code: Some(code), ref id, .. } = self.programs[index] else { continue };
                let is_check = self.monitor.as_ref().is_some_and(|monitor| monitor.is_check(number));
                if all && number != self.first && !is_check {
                    self.tell("exec_die", &[("execID", id), ("exitCode", &code.to_string())]);
                }
            }
        }
    }

    /// Tells clients of programs that have ended, when they have all the output.
    fn tell_ends(&mut self, recorded: bool) {
        for program in self.programs.iter().filter(|program| program.drained) {
            let is_first = program.number == self.first;
            let Some(code) = program.exit_code.filter(|_| recorded || !is_first) else { continue };
            // Who has just connected wants to know about the first.
            let theirs =
                |client: &&mut Client| client.program == Some(program.number) || (is_first && client.program.is_none());
            for client in self.clients.iter_mut().filter(theirs).filter(|client| client.has_all()) {
                client.say(&Answer::Exited(code));
                if is_first && client.patient && !client.gone {
                    self.starter = client.socket.try_clone().ok();
                }
                client.gone = true;
            }
        }
        if recorded && !self.programs.iter().any(|program| program.number == self.first) {
            // A run that they waited for will not be.
            for client in self.clients.iter_mut().filter(|client| client.program.is_none_or(|it| it == self.first)) {
                client.say(&Answer::Exited(self.state.exit_code));
                client.gone = true;
            }
        }
        self.clients.retain(|client| !client.gone);
        let (clients, first) = (&self.clients, self.first);
        self.programs.retain(|program| {
            let waited_for = clients.iter().any(|client| client.program == Some(program.number));
            program.number == first || !program.drained || waited_for
        });
    }

    /// Takes in those who connected before the socket was removed; whether there were any.
    fn accept_late(&mut self) -> bool {
        let late = packet::accept(self.listener.as_fd()).ok().flatten();
        let was_there = late.is_some();
        self.clients.extend(late.map(Client::new));
        was_there
    }

    /// Becomes the command that has to follow, if there is one and nobody else does its work.
    fn when_done(self) -> Result<(), Error> {
        if self.when_done.is_empty() {
            return Ok(());
        }
        if let Some(starter) = &self.starter {
            // Its end of the socket is open as long as it lives.
            while matches!(packet::receive(starter.as_fd()), Ok(Some(_))) {}
            if !self.places.dir.exists() {
                return Ok(());
            }
        }
        // The command that follows ends as commands do.
        signal::reset();
        let text = |line: &str| CString::new(line).map_err(|_| Error::Spec("a NUL byte in a text".to_owned()));
        let words = std::iter::once("strata").chain(self.when_done.iter().map(String::as_str));
        let arguments = words.map(text).collect::<Result<Vec<_>, _>>()?;
        Err(Error::step("start the command that follows")(process::execute(c"/proc/self/exe", &arguments, &[])))
    }
}

fn running(pid: i32) -> State {
    let shim_pid = rustix::process::getpid().as_raw_nonzero().get();
    State {
        status: Status::Running,
        pid,
        pid_started_ticks: record::started_ticks(pid).unwrap_or(0),
        shim_pid,
        shim_started_ticks: record::started_ticks(shim_pid).unwrap_or(0),
        started_at: Some(Timestamp::now()),
        boot_id: record::boot_id(),
        ..State::created()
    }
}

/// Where the shim of a container listens.
pub(crate) fn socket_dir(run_dir: &std::path::Path, id: &ContainerId) -> PathBuf {
    run_dir.join("c").join(id.as_str())
}

/// Makes that directory, if it is not there.
pub(crate) fn make_socket_dir(run_dir: &std::path::Path, id: &ContainerId) -> Result<PathBuf, Error> {
    let dir = socket_dir(run_dir, id);
    std::fs::create_dir_all(&dir).map_err(Error::path("make", dir.display().to_string()))?;
    Ok(dir)
}

/// Removes a shim's socket and what lies beside it, which may be gone already; says whether nothing is left of it.
pub(crate) fn remove_socket(run_dir: &std::path::Path, id: &ContainerId) -> bool {
    let dir = socket_dir(run_dir, id);
    // Whoever connects from now on hears that it does not run.
    let removed = [std::fs::remove_file(dir.join(SOCKET)), std::fs::remove_dir_all(&dir)];
    let mut is_gone = true;
    for removed in removed {
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the socket of a shim stays");
            is_gone = false;
        }
    }
    is_gone
}
