//! What the shim does when something is ready.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use strata_sys::{packet, process, pty, signal};

use super::aside::Keeper;
use super::client::{Client, Detach, Output};
use super::{Failed, READ_BYTES, Shim, Source, Wish, launch, record};
use crate::Error;
use crate::spec::{ExecSpec, Spec, Stdin, TerminalSize};
use crate::wire::{self, Answer, Request};

impl Shim {
    pub(super) fn handle(&mut self, source: Source, flags: PollFlags) -> Result<(), Error> {
        match source {
            Source::Listener => {
                if let Some(socket) = packet::accept(self.listener.as_fd()).map_err(Error::step("accept a client"))? {
                    self.clients.push(Client::new(socket));
                }
            }
            Source::Ending => {
                while let Ok(Some(_)) = self.ending.signals.next() {
                    self.end_in_order();
                }
            }
            Source::Strays => {
                // However many signals there were: all who ended are looked for.
                while let Some(Ok(Some(_))) = self.strays.as_ref().map(signal::SignalFd::next) {}
                self.reap_strays();
            }
            Source::End(index) => {
                self.programs[index].reap();
                self.reap_strays();
            }
            Source::Output(index, stream) => {
                self.pump(index, stream);
            }
            Source::Input(index) => self.programs[index].push_and_end(),
            Source::Network => self.sandbox.iter_mut().for_each(strata_net::Sandbox::turn),
            Source::Log => self.log.iter_mut().for_each(Keeper::flush),
            Source::Client(index) => self.listen(index),
            Source::ClientInput(index) => self.pass_input(index, flags),
            Source::ClientOutput(index, number) => self.clients[index].flush(number),
        }
        Ok(())
    }

    /// Orphans of processes without a process id namespace of their own come to us.
    fn reap_strays(&mut self) {
        if self.has_pids && self.runtime.is_none() {
            return;
        }
        while let Ok(Some((pid, ended))) = process::reap_any() {
            if let Some(program) = self.programs.iter_mut().find(|program| program.pid == pid) {
                program.exit_code = program.exit_code.or(Some(ended.code()));
            }
        }
    }

    /// Hears one request.
    fn listen(&mut self, index: usize) {
        let heard = wire::receive::<Request>(&self.clients[index].socket);
        let Ok(Some((request, fds))) = heard else {
            self.leave(index);
            return;
        };
        if request.is_waited_for() && packet::has_left(self.clients[index].socket.as_fd()) {
            // Nobody wants it any more: we were asked long ago.
            self.leave(index);
            return;
        }
        // Taken out meanwhile: starting and attaching look at all clients.
        let place = Client::new(match self.clients[index].socket.try_clone() {
            Ok(socket) => socket,
            Err(_) => return self.leave(index),
        });
        let mut client = std::mem::replace(&mut self.clients[index], place);
        match request {
            Request::Another | Request::Start { .. } => client.gone = true,
            Request::Attach(wish) => {
                client.say(&Answer::Attached);
                self.attach(&mut client, self.first, &wish, fds, false);
            }
            Request::Exec { spec, attach } => self.exec(&mut client, &spec, attach.as_ref(), fds),
            Request::Hold => self.hold(&mut client),
            Request::Connect(attachment) => self.change_networks(&mut client, |sandbox| sandbox.add(&attachment)),
            Request::Disconnect(network) => {
                self.change_networks(&mut client, |sandbox| sandbox.remove(&network).map(drop));
            }
            Request::Rename(name) => {
                self.attributes.insert("name".to_owned(), name.clone());
                self.change_networks(&mut client, |sandbox| sandbox.rename(&name));
            }
            Request::Resize(size) => self.resize(client.program.unwrap_or(self.first), size),
            Request::Signal(signal) => {
                let number = client.program.unwrap_or(self.first);
                if let Some(program) = self.programs.iter().find(|program| program.number == number)
                    && let Err(errno) = signal::send(program.pidfd.as_fd(), signal)
                {
                    tracing::debug!(%errno, "a signal came too late");
                }
            }
            Request::Stopping { cancel } => {
                self.stopping(cancel);
                client.say(&Answer::Noted);
            }
            Request::End => {
                self.end_in_order();
                client.say(&Answer::Noted);
            }
            Request::Restart(policy) => {
                self.restarts.policy = policy;
                client.say(&Answer::Noted);
            }
        }
        self.clients[index] = client;
    }

    /// Connects a client to a program.
    pub(super) fn attach(&mut self, client: &mut Client, number: u32, wish: &Wish, fds: Vec<OwnedFd>, patient: bool) {
        let Some([stdin, stdout, stderr]) = wish.take(fds) else {
            client.gone = true;
            return;
        };
        client.program = Some(number);
        client.stdin = stdin;
        client.outputs = [stdout.map(Output::new), stderr.map(Output::new)];
        client.detach = Detach::new(wish.detach_keys.clone());
        client.patient = patient;
        if let Some(size) = wish.size {
            self.resize(number, size);
        }
    }

    fn exec(&mut self, client: &mut Client, spec: &ExecSpec, attach: Option<&Wish>, fds: Vec<OwnedFd>) {
        match self.try_exec(spec) {
            Ok((number, pid, warnings)) => {
                client.say(&Answer::Started { pid, warnings });
                if let Some(wish) = attach {
                    self.attach(client, number, wish, fds, true);
                }
            }
            Err(error) => {
                client.say(&Failed::from(&error).answer());
                client.gone = true;
            }
        }
    }

    fn try_exec(&mut self, exec: &ExecSpec) -> Result<(u32, i32, Vec<String>), Error> {
        let first = self.programs.iter().find(|program| program.number == self.first && program.exit_code.is_none());
        let first = first.ok_or_else(|| Error::NotRunning(self.id.to_string()))?;
        let path = record::spec_path(&self.places.run_dir, &self.id);
        let spec: Spec = record::read(&path)?.ok_or_else(|| Error::NotRunning(self.id.to_string()))?;
        let number = self.next_number;
        let target = first.pidfd.as_fd();
        let mut launched = launch::joining(number, &exec.process, &spec, target, &self.places, &self.cgroup)?;
        self.next_number += 1;
        let pid = launched.program.pid;
        launched.program.id.clone_from(&exec.id);
        self.programs.push(launched.program);
        Ok((number, pid, launched.warnings))
    }

    /// Makes all processes stand still for a client. Frozen ones are somebody else's.
    fn hold(&mut self, client: &mut Client) {
        let held = !self.cgroup.is_frozen() && self.cgroup.freeze(true).is_ok();
        client.holds = held;
        client.say(&Answer::Held(held));
    }

    /// Lets the processes go on when the last client for whom they stood still has left.
    pub(super) fn let_go(&mut self) {
        let left = |client: &Client| client.gone && client.holds;
        let stays = |client: &Client| !client.gone && client.holds;
        if self.clients.iter().any(left)
            && !self.clients.iter().any(stays)
            && let Err(error) = self.cgroup.freeze(false)
        {
            tracing::debug!(%error, "the processes stay frozen");
        }
    }

    fn resize(&self, number: u32, size: TerminalSize) {
        let program = self.programs.iter().find(|program| program.number == number);
        if let Some(terminal) = program.and_then(|program| program.terminal.as_ref()) {
            if let Err(errno) = pty::set_size(terminal.as_fd(), size.rows, size.columns) {
                tracing::debug!(%errno, "the terminal keeps its size");
            }
            // As Docker: of programs that joined nothing is told.
            if number == self.first {
                self.tell("resize", &[("height", &size.rows.to_string()), ("width", &size.columns.to_string())]);
            }
        }
    }

    /// Passes a client's input to its program.
    fn pass_input(&mut self, index: usize, _flags: PollFlags) {
        let client = &mut self.clients[index];
        let Some(stdin) = &client.stdin else { return };
        let mut typed = [0_u8; READ_BYTES / 4];
        let read = match rustix::io::read(stdin, &mut typed) {
            Err(Errno::AGAIN | Errno::INTR) => return,
            Ok(0) | Err(_) => {
                client.stdin = None;
                let number = client.program;
                self.input_ended(number);
                return;
            }
            Ok(read) => read,
        };
        let (bytes, left) = client.detach.filter(&typed[..read]);
        let number = client.program;
        if let Some(program) = self.programs.iter_mut().find(|program| Some(program.number) == number) {
            program.put(&bytes);
        }
        if left {
            match self.programs.iter().find(|program| Some(program.number) == number) {
                Some(program) if program.number != self.first => self.tell("exec_detach", &[("execID", &program.id)]),
                _ => self.tell("detach", &[]),
            }
            self.clients[index].stdin = None;
            self.clients[index].say(&Answer::Detached);
            self.clients[index].gone = true;
        }
    }

    /// A client's input ended: so does that of a program that has it once, or that nobody else can type to.
    fn input_ended(&mut self, number: Option<u32>) {
        if let Some(program) = self.programs.iter_mut().find(|program| Some(program.number) == number)
            && program.stdin_kind == Stdin::Once
            && program.terminal.is_none()
        {
            program.end_input();
        }
    }

    /// A client has left without being asked to.
    fn leave(&mut self, index: usize) {
        let had_input = self.clients[index].stdin.take().is_some();
        self.clients[index].gone = true;
        if had_input {
            let number = self.clients[index].program;
            self.input_ended(number);
        }
        if self.is_step
            && self.clients[index].patient
            && let Some(first) = self.programs.iter().find(|program| program.number == self.first)
            && let Err(errno) = signal::send(first.pidfd.as_fd(), signal::Signal::KILL)
        {
            tracing::debug!(%errno, "the container has ended before its client");
        }
    }
}
