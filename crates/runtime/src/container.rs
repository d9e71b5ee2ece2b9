//! One container, as seen from outside.

use std::path::{Path, PathBuf};

use strata_sys::signal::Signal;
use strata_types::ContainerId;

use crate::logs::Logs;
use crate::spec::TerminalSize;
use crate::{Attach, Error, ExecSpec, Session, Spec, State};

/// A container's place on disk and, while it runs, its shim.
#[derive(Clone, Debug)]
pub struct Container {
    id: ContainerId,
    dir: PathBuf,
    run_dir: PathBuf,
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

impl Container {
    /// Names the container `id` whose files are in `dir` (`<root>/containers/<id>`); `run_dir` is the engine's. Touches
    /// nothing.
    pub fn at(id: ContainerId, dir: &Path, run_dir: &Path) -> Self {
        Self { id, dir: dir.to_owned(), run_dir: run_dir.to_owned() }
    }

    /// Starts it: a shim is left behind that outlives the caller. With `attach` the caller is connected before the first
    /// byte of output. Returns when the program is being executed, or why it cannot be.
    pub fn start(&self, _spec: &Spec, _attach: Option<Attach<'_>>) -> Result<Started, Error> {
        Err(Error::ShimGone)
    }

    /// Says what it is doing now, by looking at its process.
    pub fn state(&self) -> Result<State, Error> {
        Err(Error::ShimGone)
    }

    /// The specification it was started with last.
    pub fn spec(&self) -> Result<Spec, Error> {
        Err(Error::ShimGone)
    }

    /// Connects to its first process.
    pub fn attach(&self, _attach: Attach<'_>) -> Result<Session, Error> {
        Err(Error::ShimGone)
    }

    /// Starts another process in it; `session` is there if `attach` was given. The process outlives the caller.
    pub fn exec(&self, _spec: &ExecSpec, _attach: Option<Attach<'_>>) -> Result<Started, Error> {
        Err(Error::ShimGone)
    }

    /// Tells its terminal a size.
    pub fn resize(&self, _size: TerminalSize) -> Result<(), Error> {
        Err(Error::ShimGone)
    }

    /// Sends its first process a signal.
    pub fn kill(&self, _signal: Signal) -> Result<(), Error> {
        Err(Error::ShimGone)
    }

    /// Sends `signal`, and SIGKILL after `timeout` (never, without). Returns its state when it has ended; a container that
    /// does not run is left alone.
    pub fn stop(&self, _signal: Signal, _timeout: Option<std::time::Duration>) -> Result<State, Error> {
        Err(Error::ShimGone)
    }

    /// Waits until it does not run, and its end is recorded.
    pub fn wait(&self) -> Result<State, Error> {
        Err(Error::ShimGone)
    }

    /// Freezes its processes.
    pub fn pause(&self) -> Result<(), Error> {
        Err(Error::ShimGone)
    }

    /// Lets its frozen processes go on.
    pub fn unpause(&self) -> Result<(), Error> {
        Err(Error::ShimGone)
    }

    /// Its processes, in the host's numbering, lowest first.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        Err(Error::ShimGone)
    }

    /// Its output so far and to come.
    pub fn logs(&self) -> Logs {
        Logs::in_dir(&self.dir)
    }

    /// Removes what a container that does not run has left outside its directory: cgroups, socket. May be repeated.
    pub fn cleanup(&self) -> Result<(), Error> {
        Err(Error::NotRunning(format!("{} {}", self.id, self.run_dir.display())))
    }
}
