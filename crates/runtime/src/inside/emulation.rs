//! Programs for another processor: the kernel is told who runs them, for this container alone.
//!
//! Since Linux 6.7 each user namespace may have its own `binfmt_misc`. Its rules count as long as it is mounted somewhere,
//! so it is mounted where it belongs.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use strata_sys::detached;

use super::place;
use super::standing::Standing;
use crate::Error;
use crate::emulator::Emulator;

/// Where the kernel has it, below `/proc`.
const PLACE: &str = "sys/fs/binfmt_misc";

/// Tells the kernel; while the host's files are in sight, where the emulator is.
pub(super) fn register(emulator: Option<&Emulator>, standing: &Standing) -> Result<(), Error> {
    let Some(emulator) = emulator else { return Ok(()) };
    let (Some(proc), Some(rule)) = (&standing.proc, emulator.rule()) else {
        return Err(Error::Spec("programs for another processor need the standing /proc".to_owned()));
    };
    let refused = |errno: Errno| match errno {
        Errno::PERM | Errno::NODEV => Error::Unsupported(format!(
            "cannot run programs for {}: this kernel has no binfmt_misc for a single container, which came with Linux 6.7; \
             register qemu with the machine, as the packages `qemu-user-static` and `binfmt-support` do",
            emulator.architecture
        )),
        errno => Error::path("mount", "binfmt_misc")(errno),
    };
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let rules = detached::filesystem("binfmt_misc", &[], attributes).map_err(refused)?;
    let failed = |errno: Errno| Error::path("tell the kernel of", emulator.program.display().to_string())(errno);
    let file = rustix::fs::openat(&rules, "register", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    match rustix::io::write(file.map_err(failed)?, &rule) {
        // Another container of the same person's.
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let place = place::find_beneath(proc.as_fd(), PLACE, OFlags::PATH)?.ok_or_else(|| refused(Errno::NODEV))?;
    detached::attach(rules.as_fd(), place.as_fd()).map_err(Error::path("mount on", format!("/proc/{PLACE}")))
}
