//! Ordinary people: a user namespace in which they are root (docs/decisions/0023).
//!
//! ```text
//! RUN/people/lock        flock'd by who looks for a namespace or makes one
//! RUN/people/<pid>       a command that is in the namespace; holds when it started. Garbage when it has ended
//! ```
//!
//! Nothing is left running to keep the namespaces: whoever lives in them does, and that is each command and each
//! container's shim. A command joins those of any that lives; if none does, it makes new ones, with the same ids.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use strata_runtime::{Container, started_ticks};
use strata_sys::durable::{self, Durability, FileError};
use strata_sys::lock::{Lock, Mode};
use strata_sys::process::{self, NamespaceSet};
use strata_sys::user_namespace;
use strata_types::ids::IdRange;
use strata_types::{ContainerId, ErrorClass};

use crate::{Result, Settings};

/// How many ids are used of those delegated: more than any image has.
const IDS_MAX: u32 = 1 << 24;

/// Why a person cannot have containers of their own.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// The machine's owner does not want it.
    #[error("cannot make a user namespace for you")]
    Refused(#[source] io::Error),
    /// A program failed.
    #[error("{program} failed: it gives you the ids of your lines in /etc/subuid and /etc/subgid")]
    Program {
        /// Which.
        program: &'static str,
    },
    /// A step failed.
    #[error("cannot {act}")]
    Step {
        /// What.
        act: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl RootlessError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(_) => ErrorClass::Denied,
            Self::Program { .. } => ErrorClass::Unsupported,
            Self::Step { source, .. } => durable::class_of(source),
        }
    }
}

/// What kind of namespace a command came into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// With all ids that were delegated to the person.
    Many,
    /// With the person's own only: nobody was delegated any.
    One,
}

/// Takes this process, which must have one thread, into the user namespace of the person who started it. From here on it is
/// root, towards the person's own files and containers.
///
/// # Errors
/// When the machine has no user namespaces for people, or delegated ids cannot be had.
pub fn enter(settings: &Settings) -> Result<Entered> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let dir = settings.run_dir.join("people");
    durable::create_dirs(&dir, 0o700)?;
    let lock_path = dir.join("lock");
    let lock = Lock::wait(&lock_path, Mode::Exclusive).map_err(FileError::at("lock", &lock_path))?;
    let cwd = std::env::current_dir().ok();
    match somebody(&dir, settings)? {
        Some(pid) => join(pid)?,
        None => make(uid, gid)?,
    }
    if let Some(cwd) = cwd
        && let Err(error) = std::env::set_current_dir(&cwd)
    {
        tracing::debug!(%error, "the working directory cannot be seen from the namespace");
    }
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let ticks = started_ticks(own).unwrap_or(0).to_string();
    durable::write_file(&dir.join(own.to_string()), ticks.as_bytes(), 0o600, Durability::Ephemeral)?;
    drop(lock);
    ENTERED.store(true, Ordering::Relaxed);
    let only_self = std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.starts_with("deny"));
    Ok(if only_self { Entered::One } else { Entered::Many })
}

/// Whether [`enter`] took this process into a person's namespace.
pub(crate) fn entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

/// The last group of a person's namespace; none for root.
pub(crate) fn last_group() -> Option<u32> {
    let map = entered().then(|| std::fs::read_to_string("/proc/self/gid_map").ok()).flatten()?;
    let end = |line: &str| {
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u32>().ok());
        Some(numbers.next()? + numbers.nth(1)? - 1)
    };
    map.lines().filter_map(end).max()
}

static ENTERED: AtomicBool = AtomicBool::new(false);

/// A process in the namespaces: a command, or a shim. Records of commands that have ended are removed.
fn somebody(dir: &Path, settings: &Settings) -> Result<Option<i32>> {
    let list = |dir: &Path| -> Result<Vec<PathBuf>> {
        match std::fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            list => {
                let entries = list.map_err(FileError::at("list", dir))?;
                Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            }
        }
    };
    for path in list(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Ok(pid) = name.parse::<i32>() else { continue };
        let ticks = std::fs::read_to_string(&path).ok().and_then(|text| text.parse().ok());
        if ticks.is_some() && started_ticks(pid) == ticks {
            return Ok(Some(pid));
        }
        durable::remove(&path)?;
    }
    for path in list(&settings.root.join("containers"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Ok(id) = name.parse::<ContainerId>() else { continue };
        let state = Container::at(id, &path, &settings.run_dir).state()?;
        if state.shim_pid > 0 && started_ticks(state.shim_pid) == Some(state.shim_started_ticks) {
            return Ok(Some(state.shim_pid));
        }
    }
    Ok(None)
}

fn join(pid: i32) -> Result<()> {
    let failed = |act| move |errno: rustix::io::Errno| RootlessError::Step { act, source: errno.into() };
    let holder = process::open(pid).map_err(failed("find your other containers"))?;
    let namespaces = NamespaceSet::USER.and(NamespaceSet::MOUNT);
    process::join(holder.as_fd(), namespaces).map_err(failed("join the namespaces of your other containers"))?;
    Ok(())
}

/// Makes new namespaces. Ids beyond one's own are written by newuidmap and newgidmap, from outside.
fn make(uid: u32, gid: u32) -> Result<()> {
    let delegated = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        ranges(&text, &names(uid))
    };
    let (users, groups) = (delegated("/etc/subuid"), delegated("/etc/subgid"));
    let many = !users.is_empty() && !groups.is_empty();
    let refused = |errno: rustix::io::Errno| RootlessError::Refused(errno.into());
    let step = |act| move |errno: rustix::io::Errno| RootlessError::Step { act, source: errno.into() };
    if many {
        let this = rustix::process::getpid().as_raw_nonzero().get();
        let (ready, go) = rustix::pipe::pipe().map_err(step("make a pipe"))?;
        let helper = process::fork(|| {
            // Its own copy would keep the pipe open.
            if process::close_all_but(&[ready.as_fd()]).is_err() {
                return 3;
            }
            match rustix::io::read(&ready, &mut [0_u8; 1]) {
                Ok(1) => map_others(this, (uid, &users), (gid, &groups)),
                // It could not leave its namespace.
                _ => 0,
            }
        })
        .map_err(step("start a helper"))?;
        user_namespace::unshare_users().map_err(refused)?;
        rustix::io::write(&go, b"x").map_err(step("speak to a helper"))?;
        match process::wait_for(helper).map_err(step("wait for a helper"))? {
            0 => {}
            1 => return Err(RootlessError::Program { program: "newuidmap" }.into()),
            _ => return Err(RootlessError::Program { program: "newgidmap" }.into()),
        }
    } else {
        user_namespace::unshare_users().map_err(refused)?;
        user_namespace::map_self(uid, gid).map_err(step("become root of your user namespace"))?;
    }
    user_namespace::unshare_mounts().map_err(step("make a mount namespace"))?;
    Ok(())
}

/// In the helper, outside: runs both programs; which of them failed.
fn map_others(pid: i32, (uid, users): (u32, &[IdRange]), (gid, groups): (u32, &[IdRange])) -> u8 {
    for (code, program, own, ranges) in [(1, "newuidmap", uid, users), (2, "newgidmap", gid, groups)] {
        let mut command = Command::new(program);
        command.arg(pid.to_string()).args(["0", &own.to_string(), "1"]);
        for IdRange { inside, outside, size } in ranges {
            command.args([inside, outside, size].map(ToString::to_string));
        }
        if !command.status().is_ok_and(|status| status.success()) {
            return code;
        }
    }
    0
}

/// How the lines of subuid(5) may name a person: by number, and by the names in `/etc/passwd`.
fn names(uid: u32) -> Vec<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    };
    std::iter::once(number.clone()).chain(passwd.lines().filter_map(of)).collect()
}

/// The ranges that a subuid(5) file gives to somebody, as the ids from 1 on.
fn ranges(text: &str, names: &[String]) -> Vec<IdRange> {
    let mut inside = 1;
    let mut ranges = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, first, size] = fields[..] else { continue };
        let (Ok(outside), Ok(size)) = (first.parse::<u32>(), size.parse::<u32>()) else { continue };
        let size = size.min(IDS_MAX - inside);
        if names.iter().any(|known| known == name) && size > 0 {
            ranges.push(IdRange { inside, outside, size });
            inside += size;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_person() {
        let text = "other:1:5\nme:100000:65536\n# me:1:1\n1000:300000:10\nme:x:1\nme:5:0\n";
        let names = ["1000".to_owned(), "me".to_owned()];
        let expected = [
            IdRange { inside: 1, outside: 100_000, size: 65_536 },
            IdRange { inside: 65_537, outside: 300_000, size: 10 },
        ];
        assert_eq!(ranges(text, &names), expected);
        assert_eq!(ranges("", &names), []);
    }
}
