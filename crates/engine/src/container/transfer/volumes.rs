//! The tree of a container that does not run, with its volumes and binds where its programs would see them.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use strata_sys::root_dir::RootDir;
use strata_sys::{detached, isolate};

use crate::container::{ContainerError, Known, MountFrom};
use crate::{Engine, Result};

impl Engine {
    /// Mounts what the container mounts into `root`, its tree. From then on this thread has mounts of its own. A tree that
    /// nothing is mounted in is given back as it is.
    pub(super) fn with_volumes(&self, known: &Known, root: RootDir) -> Result<RootDir> {
        let mut mounts = Vec::new();
        for point in &known.document.mounts {
            let source = match &point.source {
                MountFrom::Bind { path, .. } => path.clone(),
                MountFrom::Volume { name, .. } if self.volume_backing(name)?.is_directory() => self.volume_dir(name)?,
                MountFrom::Volume { .. } => continue,
                // What is in memory is gone, and an image is not written.
                MountFrom::Tmpfs { .. } | MountFrom::Image { .. } => continue,
            };
            mounts.push((PathBuf::from(&point.target), source, point.read_only));
        }
        if mounts.is_empty() {
            return Ok(root);
        }
        // Those further out first.
        mounts.sort_by_key(|(target, ..)| target.components().count());
        let place = self.settings().root.join("layers/empty");
        let attached = isolate::own_mounts().and_then(|()| {
            detached::attach(
                root.as_fd(),
                rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.as_fd(),
            )?;
            rustix::fs::open(&place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        });
        let step = |target: &Path| ContainerError::step(format!("mount {} of the container", target.display()));
        let root = RootDir::new(attached.map_err(io::Error::from).map_err(step(Path::new("/")))?);
        for (target, source, read_only) in mounts {
            mount(&root, &target, &source, read_only).map_err(step(&target))?;
        }
        Ok(root)
    }
}

fn mount(root: &RootDir, target: &Path, source: &Path, read_only: bool) -> io::Result<()> {
    let source_name = source.to_str().ok_or(Errno::INVAL)?;
    let copy = detached::copy(CWD, source_name, true)?;
    if read_only {
        detached::set_read_only(copy.as_fd(), true)?;
    }
    let place = ensure(root, target, source.is_dir())?;
    Ok(detached::attach(copy.as_fd(), place.as_fd())?)
}

/// Opens what is mounted on, making it as a start of the container would.
fn ensure(root: &RootDir, target: &Path, is_dir: bool) -> io::Result<OwnedFd> {
    match root.open(target, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Err(Errno::INVAL.into()) };
    let parent = ensure(root, parent, true)?;
    if is_dir {
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?);
    }
    root.open(target, OFlags::PATH)
}
