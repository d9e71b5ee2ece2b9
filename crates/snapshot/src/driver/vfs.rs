//! A tree becomes the copy of another file by file, with blocks shared where the filesystem can. The driver to read first
//! (with [`tree`](super::tree)), and the one that works everywhere.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use strata_layer::LayerSink as _;
use strata_layer::dir::{Applier, Options, Power, Whiteouts, walk};
use strata_sys::durable;
use strata_sys::project::Projects;

use super::recorded::{self, FILES, open_dir};
use super::tree::Trees;
use super::{DriverName, no_projects, tidy};
use crate::{Error, Result};

/// Directories, each with everything in it.
#[derive(Debug)]
pub(super) struct Copies {
    /// The limits of containers.
    pub(super) projects: Projects,
}

/// The name of the project that a container's tree is in, if what it holds is limited.
const PROJECT: &str = "fs.project";

impl Trees for Copies {
    fn name(&self) -> DriverName {
        DriverName::Vfs
    }

    fn make(&self, below: Option<&Path>, holder: &Path) -> Result<()> {
        let to = holder.join(FILES);
        durable::create_dirs(&to, 0o755)?;
        below.map_or(Ok(()), |below| copy_tree(recorded::open(below)?.as_fd(), &to))
    }

    fn make_limited(&self, below: Option<&Path>, container: &Path, bytes: u64) -> Result<()> {
        let to = container.join(FILES);
        durable::create_dirs(&to, 0o755)?;
        let limited = self.projects.limit(std::slice::from_ref(&to), bytes, &container.join(PROJECT));
        limited.map_err(Error::at("limit the size of", &to))?;
        let made = self.make(below, container);
        let usage = Projects::usage(&to).map_err(Error::at("look at the quota of", &to))?;
        // The machine's root is not held to limits on ext4; on XFS it is.
        if usage.bytes > bytes || made.as_ref().is_err_and(is_full) {
            let reason = "it has all files of the image, and they are more".to_owned();
            return Err(Error::LimitTooSmall { driver: self.name(), bytes, reason });
        }
        made
    }

    fn no_limit(&self, home: &Path) -> Result<Option<String>> {
        no_projects(home)
    }

    fn tidy(&self) -> Result<()> {
        tidy(&self.projects)
    }

    fn parts(&self) -> &'static [&'static str] {
        &[FILES, PROJECT]
    }
}

/// Whether somebody was told that there is no room.
fn is_full(error: &Error) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
}

/// Copies everything below `from`, and its own mode and owner, to the empty directory `to`.
pub(crate) fn copy_tree(from: BorrowedFd<'_>, to: &Path) -> Result<()> {
    let mut applier = Applier::new(open_dir(to)?, Options { whiteouts: Whiteouts::Execute, power: Power::here() })?;
    walk(from, &mut |entry, file| {
        applier.entry(entry, 0)?;
        if let (true, Some(file)) = (entry.is_file(), file) {
            copy_content(file, &mut applier)?;
        }
        Ok(())
    })?;
    applier.finish()?;
    copy_root_attributes(from, to)
}

fn copy_content(file: BorrowedFd<'_>, applier: &mut Applier) -> strata_layer::Result<()> {
    if applier.share_whole(file)? {
        return applier.end();
    }
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    loop {
        let read = rustix::io::pread(file, &mut buffer, offset)
            .map_err(|error| strata_layer::Error::io("read a file of the layer below")(error.into()))?;
        if read == 0 {
            return applier.end();
        }
        applier.data(offset, &buffer[..read])?;
        offset += read as u64;
    }
}

/// How much is copied at once.
const COPY_BYTES: usize = 256 << 10;

/// The walk leaves out the root itself.
fn copy_root_attributes(from: BorrowedFd<'_>, to: &Path) -> Result<()> {
    let stat = rustix::fs::fstat(from).map_err(Error::at("look at the layer below", to))?;
    let root = open_dir(to)?;
    rustix::fs::fchmod(&root, rustix::fs::Mode::from_raw_mode(stat.st_mode))
        .map_err(Error::at("set the mode of", to))?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(&root, Some(uid), Some(gid)).map_err(Error::at("set the owner of", to))
}
