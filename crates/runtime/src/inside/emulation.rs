//! Programs for another processor: the kernel is told who runs them, for this container alone.
//!
//! Since Linux 6.7 each user namespace may have its own `binfmt_misc`. Its rules count as long as it is mounted somewhere,
//! so it is mounted where it belongs. Where that is not possible the emulator is passed in: opened while the host's files are
//! in sight, and executed by its descriptor where the kernel does not know the program's format.

use std::ffi::CString;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_sys::{detached, process};

use super::place;
use super::standing::Standing;
use crate::Error;
use crate::emulator::Emulator;

/// Where the kernel has it, below `/proc`.
const PLACE: &str = "sys/fs/binfmt_misc";

/// An emulator that is open.
pub(super) struct Opened {
    emulator: Emulator,
    file: OwnedFd,
}

impl Opened {
    /// How much of a script names what runs it, as in the kernel (`BINPRM_BUF_SIZE`).
    const FIRST_LINE_BYTES: u64 = 256;

    /// Opens what a container has; to be called while the host's files are in sight.
    pub(super) fn of(emulator: Option<&Emulator>) -> Result<Option<Self>, Error> {
        let Some(emulator) = emulator else { return Ok(None) };
        let file = rustix::fs::open(&emulator.program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        match file {
            Ok(file) => Ok(Some(Self { emulator: emulator.clone(), file })),
            // The kernel has it.
            Err(_) if !emulator.passed_in => Ok(None),
            Err(errno) => Err(Error::path("open", emulator.program.display().to_string())(errno)),
        }
    }

    /// Runs a program that the kernel does not know, or a script whose interpreter is such; returns only if it cannot.
    pub(super) fn execute(&self, path: &str, arguments: &[String], environment: &[CString]) -> Errno {
        let Some(words) = self.words(path, arguments, true) else { return Errno::NOEXEC };
        match words.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>() {
            Ok(words) => process::execute_open(self.file.as_fd(), &words, environment),
            Err(_) => Errno::INVAL,
        }
    }

    /// The emulator's arguments: the name that the program is to see itself by, its path, and its own arguments.
    fn words(&self, path: &str, arguments: &[String], may_be_script: bool) -> Option<Vec<String>> {
        let mut begin = Vec::new();
        let file = std::fs::File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?);
        file.take(Self::FIRST_LINE_BYTES).read_to_end(&mut begin).ok()?;
        let (name, rest) = arguments.split_first()?;
        if self.emulator.runs(&begin) {
            let own = self.emulator.program.file_name()?.to_string_lossy().into_owned();
            let head = [own, "-0".to_owned(), name.clone(), path.to_owned()];
            return Some(head.into_iter().chain(rest.iter().cloned()).collect());
        }
        let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        let line = std::str::from_utf8(line).ok().filter(|_| may_be_script)?.trim();
        let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
        let words = [interpreter].into_iter().chain(argument).chain([path]).map(str::to_owned);
        self.words(interpreter, &words.chain(rest.iter().cloned()).collect::<Vec<_>>(), false)
    }
}

/// Tells the kernel; while the host's files are in sight, where the emulator is.
pub(super) fn register(emulator: Option<&Emulator>, standing: &Standing) -> Result<(), Error> {
    let Some(emulator) = emulator.filter(|emulator| !emulator.passed_in) else { return Ok(()) };
    let (Some(proc), Some(rule)) = (&standing.proc, emulator.rule()) else {
        return Err(Error::Spec("programs for another processor need the standing /proc".to_owned()));
    };
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let rules = match detached::filesystem("binfmt_misc", &[], attributes) {
        Ok(rules) => rules,
        // This kernel has none, or none for a single container: the emulator is open.
        Err(Errno::PERM | Errno::NODEV) => return Ok(()),
        Err(errno) => return Err(Error::path("mount", "binfmt_misc")(errno)),
    };
    let failed = |errno: Errno| Error::path("tell the kernel of", emulator.program.display().to_string())(errno);
    let file = rustix::fs::openat(&rules, "register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    match rustix::io::write(file.map_err(failed)?, &rule) {
        // Another container of the same person's.
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let place = place::find_beneath(proc.as_fd(), PLACE, OFlags::PATH)?;
    let Some(place) = place else { return Ok(()) };
    detached::attach(rules.as_fd(), place.as_fd()).map_err(Error::path("mount on", format!("/proc/{PLACE}")))
}
