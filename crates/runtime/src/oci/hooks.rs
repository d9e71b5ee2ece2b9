//! Programs that a bundle names, run at certain moments with the container's state on their standard input.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use strata_types::runtime_spec::Hook;

use super::Error;

/// What of a failed hook's output is told.
const OUTPUT_BYTES_MAX: u64 = 4096;

/// Runs hooks one after the other until one fails. Those that run inside the container have no place of their own.
pub(crate) fn run(kind: &'static str, hooks: &[Hook], state: &str, dir: Option<&Path>) -> Result<(), Error> {
    hooks.iter().enumerate().try_for_each(|(number, hook)| one(kind, number, hook, state, dir))
}

/// Runs all hooks; what the failed ones have to say.
pub(super) fn run_all(kind: &'static str, hooks: &[Hook], state: &str, dir: &Path) -> Vec<Error> {
    let each = hooks.iter().enumerate();
    each.filter_map(|(number, hook)| one(kind, number, hook, state, Some(dir)).err()).collect()
}

fn one(kind: &'static str, number: usize, hook: &Hook, state: &str, dir: Option<&Path>) -> Result<(), Error> {
    let failed = |why: String| Error::hook(kind, number, why);
    if !hook.path.starts_with('/') {
        return Err(failed(format!("the path `{}` is not absolute", hook.path)));
    }
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|line| line.split_once('=')));
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    // What it prints is no output of the container's. In memory: nobody waits for a pipe that it leaves to others.
    let memory = rustix::fs::memfd_create("hook", rustix::fs::MemfdFlags::CLOEXEC);
    let mut output = std::fs::File::from(memory.map_err(|errno| failed(errno.to_string()))?);
    let stderr = output.try_clone().map_err(|error| failed(error.to_string()))?;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn().map_err(|error| failed(format!("{}: {error}", hook.path)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not want to know closes its input.
        if let Err(error) = stdin.write_all(state.as_bytes()) {
            tracing::debug!(%error, "a hook did not read the state");
        }
    }
    let timeout = hook.timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    if !ends_in_time(&child, timeout).map_err(&failed)? {
        let killed = child.kill().and_then(|()| child.wait());
        tracing::debug!(?killed, "a hook took too long");
        return Err(failed(format!("{} ran past its timeout of {} s", hook.path, hook.timeout.unwrap_or(0))));
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    if let Err(error) = output.rewind().and_then(|()| output.take(OUTPUT_BYTES_MAX).read_to_end(&mut text)) {
        tracing::debug!(%error, "a hook's output is not read");
    }
    Err(failed(format!("{status}, stderr: {}", String::from_utf8_lossy(&text).trim_end())))
}

/// Waits for the end of a process; no if it did not come in time.
fn ends_in_time(child: &std::process::Child, timeout: Option<Duration>) -> Result<bool, String> {
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let pidfd = strata_sys::process::open(pid).map_err(|errno| errno.to_string())?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], left.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.to_string()),
        }
    }
}
