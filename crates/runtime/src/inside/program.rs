//! Finding the program and becoming it.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use strata_sys::process;

use super::emulation::Opened;
use super::{Channel, init};
use crate::Error;
use crate::spec::{NamedUser, Process, User};

/// Where programs are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As whom a process runs.
pub(super) struct Identity {
    /// The numbers.
    pub(super) user: User,
    /// Where the user is at home, if that was looked up.
    pub(super) home: Option<String>,
}

/// As whom the process runs: by number, or found by name in the root that this process now has.
pub(super) fn identity(process: &Process) -> Result<Identity, Error> {
    let Some(named) = &process.named_user else { return Ok(Identity { user: process.user.clone(), home: None }) };
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::path("open", "/"))?;
    let found = crate::user::look_up(root.as_fd(), named)?;
    Ok(Identity { user: found.user, home: Some(found.home) })
}

/// Executes the program; behind a tiny init if asked. Returns only if that fails, or as init when all has ended.
pub(super) fn run(
    process: &Process,
    home: Option<String>,
    (with_init, emulator): (bool, Option<Opened>),
    channel: &Channel,
) -> Result<u8, Error> {
    let (name, path, environment) = find(process, home)?;
    // Init closes what others have open. If nothing is executed, this process ends.
    let emulator = std::mem::ManuallyDrop::new(emulator);
    let become_it = || execute(&name, &path, process, &environment, emulator.as_ref());
    if with_init { init::run(channel, become_it) } else { Err(become_it()) }
}

/// The program's name as asked for, its path, and its environment, in which `home` is where its user is at home.
pub(super) fn find(process: &Process, home: Option<String>) -> Result<(String, String, Vec<String>), Error> {
    let mut environment = process.env.clone();
    if let Some(home) = home
        && !environment.iter().any(|line| line.starts_with("HOME="))
    {
        environment.push(format!("HOME={home}"));
    }
    let (name, path) = look_up(process, &environment)?;
    Ok((name, path, environment))
}

/// Where a user is at home, as the root says that this process now has.
pub(super) fn home_of(uid: u32) -> Result<String, Error> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::path("open", "/"))?;
    Ok(match crate::user::look_up(root.as_fd(), &NamedUser { user: uid.to_string(), groups: Vec::new() }) {
        Ok(found) => found.home,
        // Numbers that no file can name.
        Err(Error::Setup(_)) => "/".to_owned(),
        Err(error) => return Err(error),
    })
}

/// Becomes the program, or the emulator with it if the kernel does not know it; returns only if that fails.
pub(super) fn execute(
    name: &str,
    path: &str,
    process: &Process,
    environment: &[String],
    emulator: Option<&Opened>,
) -> Error {
    let text = |line: &String| CString::new(line.as_str()).map_err(|_| Error::Spec("a NUL byte in a text".to_owned()));
    let all = |lines: &[String]| lines.iter().map(text).collect::<Result<Vec<_>, _>>();
    let (path_text, arguments, environment) = match (text(&path.to_owned()), all(&process.args), all(environment)) {
        (Ok(path), Ok(arguments), Ok(environment)) => (path, arguments, environment),
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return error,
    };
    let refused = match (process::execute(&path_text, &arguments, &environment), emulator) {
        (Errno::NOEXEC, Some(emulator)) => emulator.execute(path, &process.args, &environment),
        (errno, _) => errno,
    };
    match refused {
        // The file is there: its interpreter is not.
        Errno::NOENT => Error::ProgramMissing(format!("exec {path}: no such file or directory")),
        errno => Error::ProgramRefused(format!("exec: \"{name}\": {}", words(errno))),
    }
}

/// The program's name as asked for and its path: as Go's `exec.LookPath` finds it, with its sentences.
fn look_up(process: &Process, environment: &[String]) -> Result<(String, String), Error> {
    let name = process.args.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::ProgramMissing("exec: no command".to_owned()))?;
    if name.contains('/') {
        return match check(name) {
            Ok(()) => Ok((name.clone(), name.clone())),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                Err(Error::ProgramMissing(format!("exec: \"{name}\": stat {name}: no such file or directory")))
            }
            Err(errno) => Err(Error::ProgramRefused(format!("exec: \"{name}\": {}", words(errno)))),
        };
    }
    let path = environment.iter().find_map(|line| line.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut refused = false;
    for dir in path.split(':') {
        let candidate = format!("{}/{name}", if dir.is_empty() { "." } else { dir });
        match check(&candidate) {
            Ok(()) => return Ok((name.clone(), candidate)),
            Err(Errno::ACCESS) => refused = true,
            Err(_) => {}
        }
    }
    let text = format!("exec: {name:?}: executable file not found in $PATH");
    if refused {
        return Err(Error::ProgramRefused(format!("exec: {name:?}: permission denied")));
    }
    Err(Error::ProgramMissing(text))
}

/// Whether this can be executed: a file, and allowed.
fn check(path: &str) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Errno::ISDIR);
    }
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // A filter may not know the newer call: executing will tell.
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Go's words for an error.
fn words(errno: Errno) -> String {
    match errno {
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::ISDIR => "is a directory".to_owned(),
        Errno::NOEXEC => "exec format error".to_owned(),
        Errno::PERM => "operation not permitted".to_owned(),
        Errno::TOOBIG => "argument list too long".to_owned(),
        Errno::NOMEM => "cannot allocate memory".to_owned(),
        Errno::TXTBSY => "text file busy".to_owned(),
        other => std::io::Error::from(other).to_string(),
    }
}
