//! Containers that another OCI runtime makes: `crun`, `runc` or whatever understands their command line.
//!
//! ```text
//! <container>/bundle/config.json   what it is to make
//! <container>/bundle/rootfs        where it finds the root, mounted in the shim's own mount namespace only
//! <container>/bundle/mounts/N      images and secrets that are mounted in the container
//! <run dir>/oci/<runtime>/<id>     what the runtime remembers
//! ```
//!
//! Its processes become the shim's children when the runtime's command ends, and from then on are what all others are.

use std::io::{IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use strata_sys::cgroup::Cgroup;
use strata_sys::layer_mounts::LayerMounts;
use strata_sys::{detached, isolate, process, pty};

use super::launch::{self, Launched, Places};
use super::program::Program;
use super::{network, record};
use crate::bundle::{self, Identity};
use crate::inside::{self, Streams};
use crate::spec::{MountSource, Network, Process, Spec};
use crate::{Error, user};

/// A runtime, and the container it is about.
struct External<'a> {
    program: &'a Path,
    id: &'a str,
    bundle: PathBuf,
    /// What it remembers is below.
    state: PathBuf,
    /// The program it is to execute.
    asked: &'a str,
}

/// Makes the container and starts its first process.
pub(super) fn first(program: &Path, spec: &Spec, places: &Places) -> Result<(Launched, Cgroup), Error> {
    let external = External { asked: asked(&spec.process), ..External::new(program, spec.id.as_str(), places) };
    let mut resolved = None;
    if let Network::Container(id) = &spec.namespaces.network {
        let joined = resolved.insert(spec.clone());
        joined.namespaces.network = Network::Join(launch::joined(id, launch::Joined::Network, places)?);
    }
    let made = external.first(resolved.as_ref().unwrap_or(spec), places);
    if made.is_err() {
        external.clear();
    }
    made
}

/// Removes what a run leaves behind. May be repeated.
pub(super) fn tidy(program: &Path, id: &str, places: &Places) {
    External::new(program, id, places).clear();
}

/// Starts a process in a container that the runtime made.
pub(super) fn joining(
    program: &Path,
    number: u32,
    process: &Process,
    spec: &Spec,
    places: &Places,
) -> Result<Launched, Error> {
    let external = External { asked: asked(process), ..External::new(program, spec.id.as_str(), places) };
    let state = record::state(&places.dir)?.ok_or_else(|| Error::NotRunning(spec.id.to_string()))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{}/root", state.pid), flags, Mode::empty())
        .map_err(Error::step("look into the container"))?;
    let identity = identity(process, &root)?;
    let description = external.bundle.join(format!("process-{number}.json"));
    record::put(&description, &bundle::process(process, &identity)?)?;
    let words = ["exec", "--detach", "--process"].map(str::to_owned);
    let words = words.into_iter().chain([description.display().to_string()]).collect();
    let launched = external.launch(number, process, words);
    remove(&description);
    launched
}

impl<'a> External<'a> {
    fn new(program: &'a Path, id: &'a str, places: &Places) -> Self {
        let name = program.file_name().unwrap_or_default();
        let (bundle, state) = (places.dir.join("bundle"), places.run_dir.join("oci").join(name));
        Self { program, id, bundle, state, asked: "" }
    }

    fn first(&self, spec: &Spec, places: &Places) -> Result<(Launched, Cgroup), Error> {
        // Who died before may have left something.
        self.clear();
        isolate::own_mounts().map_err(Error::step("have mounts to ourselves"))?;
        let layers = LayerMounts::new(launch::store_root(&places.dir), &places.run_dir);
        let (inside::Trees { rootfs, plans }, _) = launch::trees(spec, &layers)?;
        let root_path = self.bundle.join("rootfs");
        make_dirs(&root_path)?;
        make_dirs(&self.state)?;
        mount_at(&rootfs, &root_path)?;
        let sources = self.sources(spec, plans)?;
        let identity = identity(&spec.process, &rootfs)?;
        let config = bundle::config(spec, &root_path, &sources, &identity)?;
        record::put(&self.bundle.join("config.json"), &config)?;
        let words = vec!["create".to_owned(), "--bundle".to_owned(), self.bundle.display().to_string()];
        let mut launched = self.launch(0, &spec.process, words)?;
        let cgroup = Cgroup::open(&bundle::cgroup_name(spec));
        // The namespaces are there, and the program is not executed yet.
        let sandbox = network::connect(spec, places, launched.program.pid, &mut launched.warnings)?;
        if let Err(error) = self.run(self.command(&["start", self.id])) {
            network::finish(sandbox.and_then(network::leave));
            return Err(error);
        }
        launched.sandbox = sandbox;
        Ok((launched, cgroup))
    }

    /// Mounts images and secrets where the runtime finds them.
    fn sources(&self, spec: &Spec, plans: Vec<OwnedFd>) -> Result<Vec<Option<PathBuf>>, Error> {
        let mut sources = Vec::new();
        for (number, opened) in inside::open_sources(spec, plans)?.into_iter().enumerate() {
            let theirs = |source: &MountSource| {
                matches!(source, MountSource::Bind { subpath: None, .. } | MountSource::Tmpfs { .. })
            };
            if theirs(&spec.mounts[number].source) {
                sources.push(None);
                continue;
            }
            let place = self.bundle.join("mounts").join(number.to_string());
            let stat = rustix::fs::fstat(&opened).map_err(Error::step("look at a mount"))?;
            if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
                make_dirs(&place)?;
            } else {
                make_dirs(&self.bundle.join("mounts"))?;
                std::fs::write(&place, b"").map_err(Error::path("make", place.display().to_string()))?;
            }
            mount_at(&opened, &place)?;
            sources.push(Some(place));
        }
        Ok(sources)
    }

    /// Runs a command of the runtime that leaves a process behind, with the process's streams as its own.
    fn launch(&self, number: u32, process: &Process, words: Vec<String>) -> Result<Launched, Error> {
        let (streams, ends) = launch::streams(process, None)?;
        let pid_file = self.bundle.join(format!("pid-{number}"));
        let console = format!("console-{number}");
        let mut command = self.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.arg("--pid-file").arg(&pid_file);
        let terminal = match streams {
            Streams::Given([stdin, stdout, stderr]) => {
                command.arg(self.id).stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
                self.run(command)?;
                None
            }
            Streams::Terminal => {
                // By way of a descriptor, because a socket's name has room for 107 bytes.
                let shown = self.bundle.display().to_string();
                let dir = process::open_dir(&self.bundle).map_err(Error::path("open", shown))?;
                let below = |process: &str| format!("/proc/{process}/fd/{}/{console}", dir.as_raw_fd());
                remove(&self.bundle.join(&console));
                let listener =
                    UnixListener::bind(below("self")).map_err(Error::path("listen for a terminal at", &console))?;
                command.arg("--console-socket").arg(below(&std::process::id().to_string())).arg(self.id);
                let terminal = self.run_with_terminal(command, &listener);
                remove(&self.bundle.join(&console));
                Some(terminal?)
            }
        };
        let pid = read_pid(&pid_file);
        remove(&pid_file);
        let pid = pid?;
        let pidfd = process::open(pid).map_err(Error::step("find the new process"))?;
        let mut program = Program::new_for(number, process, ends)(process::Child { pid, pidfd });
        if let Some(terminal) = terminal {
            rustix::io::ioctl_fionbio(&terminal, true).map_err(Error::step("use the terminal"))?;
            if let Some(size) = process.terminal_size {
                pty::set_size(terminal.as_fd(), size.rows, size.columns).map_err(Error::step("size the terminal"))?;
            }
            program.terminal = Some(terminal);
        }
        Ok(Launched { program, sandbox: None, kept: None, warnings: Vec::new() })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("--root").arg(&self.state).arg("--log").arg(self.log()).args(["--log-format", "json"]);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.bundle.join("runtime.log")
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> Error {
        let shown = self.program.display().to_string();
        move |source| Error::Path { act: "execute the runtime", path: shown.clone(), source }
    }

    /// Runs a command of the runtime to its end.
    fn run(&self, mut command: Command) -> Result<(), Error> {
        remove(&self.log());
        let status = command.status().map_err(self.failed())?;
        if status.success() { Ok(()) } else { Err(self.why()) }
    }

    /// The same, for one that sends a terminal meanwhile.
    fn run_with_terminal(&self, mut command: Command, listener: &UnixListener) -> Result<OwnedFd, Error> {
        remove(&self.log());
        let mut child = command.spawn().map_err(self.failed())?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let pidfd = process::open(pid).map_err(Error::step("watch the runtime"))?;
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        while let Err(errno) = poll(&mut fds, None) {
            if errno != rustix::io::Errno::INTR {
                return Err(Error::step("wait for the runtime")(errno));
            }
        }
        let sent = !fds[0].revents().is_empty();
        let terminal = if sent { Some(receive_terminal(listener)?) } else { None };
        let status = child.wait().map_err(self.failed())?;
        match terminal {
            Some(terminal) if status.success() => Ok(terminal),
            _ => Err(self.why()),
        }
    }

    /// What the runtime says about its failure, in the words of the native one where it is the program's.
    fn why(&self) -> Error {
        let mut text = String::new();
        let read = std::fs::File::open(self.log()).and_then(|log| log.take(LOG_BYTES_MAX).read_to_string(&mut text));
        if let Err(error) = read {
            tracing::debug!(%error, "the runtime left no log");
        }
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let said = lines.rfind(|line| line["level"] != "debug" && line["level"] != "info");
        let said = said.and_then(|line| line["msg"].as_str().map(str::to_owned));
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        explain(&name, self.asked, said.as_deref().unwrap_or("it failed and did not say why"))
    }

    /// Lets the runtime forget the container, and unmounts what was mounted for it.
    fn clear(&self) {
        if self.state.join(self.id).exists()
            && let Err(error) = self.run(self.command(&["delete", "--force", self.id]))
        {
            tracing::debug!(%error, "the runtime remembers a container that has ended");
        }
        let mounts = std::fs::read_dir(self.bundle.join("mounts"));
        let mounts = mounts.into_iter().flatten().flatten().map(|entry| entry.path());
        for place in mounts.chain([self.bundle.join("rootfs")]) {
            match rustix::mount::unmount(&place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                // Not there, or nothing is mounted on it.
                Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
                Err(errno) => tracing::debug!(%errno, "a mount of the container stays"),
            }
        }
    }
}

/// What of a runtime's log is read: its last words are short.
const LOG_BYTES_MAX: u64 = 1 << 20;

fn asked(process: &Process) -> &str {
    process.args.first().map_or("", String::as_str)
}

fn explain(runtime: &str, asked: &str, said: &str) -> Error {
    // runc: `… exec: "x": executable file not found in $PATH`; crun: "executable file `x` not found in $PATH".
    if let Some(at) = said.find("exec: \"") {
        let text = said[at..].trim_end_matches(": unknown").to_owned();
        let is_missing = text.contains("not found in $PATH") || text.contains("no such file or directory");
        return if is_missing { Error::ProgramMissing(text) } else { Error::ProgramRefused(text) };
    }
    if let Some((_, rest)) = said.split_once("executable file `")
        && let Some((name, why)) = rest.split_once('`')
    {
        return match why.contains("not found") {
            true => Error::ProgramMissing(format!("exec: \"{name}\": executable file not found in $PATH")),
            false => Error::ProgramRefused(format!("exec: \"{name}\":{why}")),
        };
    }
    // crun again, which names the program in one of two cases only.
    if let Some(why) = said.strip_prefix("open executable: ") {
        return Error::ProgramRefused(format!("exec: \"{asked}\": {}", why.to_lowercase()));
    }
    Error::Setup(format!("{runtime}: {said}"))
}

fn identity(process: &Process, root: &OwnedFd) -> Result<Identity, Error> {
    Ok(match &process.named_user {
        None => Identity { user: process.user.clone(), home: None },
        Some(named) => {
            let found = user::look_up(root.as_fd(), named)?;
            Identity { user: found.user, home: Some(found.home) }
        }
    })
}

fn make_dirs(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::path("make", path.display().to_string()))
}

fn mount_at(tree: &OwnedFd, place: &Path) -> Result<(), Error> {
    let failed = |errno: rustix::io::Errno| Error::path("mount on", place.display().to_string())(errno);
    let place = rustix::fs::open(place, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
    detached::attach(tree.as_fd(), place.map_err(failed)?.as_fd()).map_err(failed)
}

fn read_pid(file: &Path) -> Result<i32, Error> {
    let text = std::fs::read_to_string(file).map_err(Error::path("read", file.display().to_string()))?;
    text.trim().parse().map_err(|_| Error::Setup("the runtime wrote no process id".to_owned()))
}

/// Takes the terminal's other side from the runtime (runc, docs/terminals.md).
fn receive_terminal(listener: &UnixListener) -> Result<OwnedFd, Error> {
    let (socket, _) = listener.accept().map_err(Error::io("hear from the runtime"))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0_u8; 256];
    recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .map_err(Error::step("receive a terminal"))?;
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    rights.flatten().next().ok_or(Error::ShimGone)
}

/// Removes a file that may not be there.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(%error, "a file stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_the_program_are_told_in_our_words() {
        let check = |said: &str, code: u8, text: &str| {
            let error = explain("runc", "/etc/passwd", said);
            assert_eq!((error.exit_code(), error.to_string().as_str()), (code, text), "{said}");
        };
        let missing = "exec: \"nosuch\": executable file not found in $PATH";
        check(&format!("runc create failed: unable to start container process: {missing}"), 127, missing);
        check("executable file `nosuch` not found in $PATH: No such file or directory", 127, missing);
        let denied = "exec: \"/etc/passwd\": permission denied";
        check(&format!("unable to start container process: {denied}"), 126, denied);
        check("open executable: Permission denied", 126, denied);
        check("mount `x` failed", 125, "runc: mount `x` failed");
    }
}
