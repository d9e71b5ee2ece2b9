//! Waiting for a container.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::{Container, Error, State, Status};

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It does not run; perhaps it does not even now.
    NotRunning,
    /// It ends, even if it has to be started first.
    NextExit,
    /// It is removed.
    Removed,
}

impl Container {
    /// Waits; gives the state it had when what was waited for had happened.
    ///
    /// # Errors
    /// When its state cannot be read or watched.
    pub fn wait_for(&self, condition: Condition) -> Result<State, Error> {
        match condition {
            Condition::NotRunning => self.wait(),
            Condition::NextExit => self.wait_for_next_exit(),
            Condition::Removed => self.wait_for_removal(),
        }
    }

    fn wait_for_next_exit(&self) -> Result<State, Error> {
        let Some(watch) = watch(self.dir())? else { return self.state() };
        let first = self.state()?;
        if first.status.is_up() {
            return self.wait();
        }
        loop {
            wait(&watch)?;
            let state = self.state()?;
            if state.status.is_up() {
                return self.wait();
            }
            // It was started and ended while nobody looked.
            if state.started_at != first.started_at || !self.dir().exists() {
                return Ok(state);
            }
        }
    }

    fn wait_for_removal(&self) -> Result<State, Error> {
        let mut last = self.state()?;
        let Some(watch) = watch(self.dir())? else { return Ok(last) };
        while self.dir().exists() {
            wait(&watch)?;
            let now = self.state()?;
            if now.status != Status::Created {
                last = now;
            }
        }
        Ok(last)
    }
}

/// Watches a directory: what is put into it, and its end. None if it is gone.
fn watch(dir: &Path) -> Result<Option<OwnedFd>, Error> {
    let failed = |errno: Errno| Error::path("watch", dir.display().to_string())(errno);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(failed)?;
    let events = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE_SELF | inotify::WatchFlags::MOVE_SELF;
    match inotify::add_watch(&watch, dir, events) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(|_| Some(watch)).map_err(failed),
    }
}

fn wait(watch: &OwnedFd) -> Result<(), Error> {
    match poll(&mut [PollFd::new(watch, PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(Error::step("wait for a container")(errno)),
    }
    let mut told = [0_u8; 4096];
    while rustix::io::read(watch, &mut told).is_ok_and(|read| read > 0) {}
    Ok(())
}
