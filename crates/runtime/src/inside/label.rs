//! Labels of security modules, which the kernel gives a process when it executes its program.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::spec::{Label, Process};

/// Where the label is written, opened while the machine's own `/proc` is in sight: a container's may be anything
/// (CVE-2025-52881).
pub(super) struct Place {
    file: OwnedFd,
    text: String,
}

/// Opens the place, if the process is to have a label.
pub(super) fn open(process: &Process) -> Result<Option<Place>, Error> {
    let Some(label) = &process.label else { return Ok(None) };
    let (files, text) = match label {
        // Since Linux 5.8 each module has a file of its own; the other may be another module's.
        Label::AppArmor(profile) => (&["apparmor/exec", "exec"][..], format!("exec {profile}")),
        Label::SeLinux(context) => (&["exec"][..], context.clone()),
    };
    let failed = |errno: Errno| Error::path("prepare the security label", &text)(errno);
    let mut last = Errno::NOENT;
    for name in files {
        let path = format!("/proc/thread-self/attr/{name}");
        match rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(file) => return checked(file).map_err(failed).map(|file| Some(Place { file, text: text.clone() })),
            Err(errno) => last = errno,
        }
    }
    Err(failed(last))
}

fn checked(file: OwnedFd) -> Result<OwnedFd, Errno> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    if rustix::fs::fstatfs(&file)?.f_type as u64 == PROC_SUPER_MAGIC { Ok(file) } else { Err(Errno::NODEV) }
}

impl Place {
    /// Asks for the label from the next execution on.
    pub(super) fn write(self) -> Result<(), Error> {
        let written = rustix::io::write(&self.file, self.text.as_bytes());
        written.map(drop).map_err(Error::path("set the security label", self.text))
    }
}
