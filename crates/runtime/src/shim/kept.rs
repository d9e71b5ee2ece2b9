//! The namespaces that a container had and the next one can have ([`strata_sys::spare`]), and the union that is its root
//! ([`strata_sys::spare_union`]).
//!
//! Two containers must not notice each other by them. So they are kept only if nothing in the container could change what is
//! not looked at when they are taken, and nobody from outside was in them or had the time to change them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use strata_sys::assemble::assemble;
use strata_sys::caps::CapSet;
use strata_sys::layer_mounts::LayerMounts;
use strata_sys::process::NamespaceSet;
use strata_sys::spare::{Kind, Spares, Taken};
use strata_sys::spare_union::SpareUnion;
use strata_sys::{detached, user_namespace};
use strata_types::ContainerId;
use strata_types::mount::{Mount, MountPlan, Union, Upper};

use super::{Shim, socket_dir};
use crate::Error;
use crate::spec::{self, DeviceRules, MountSource, Network, SharedMemory, Spec};

/// How long a container may have run. Whoever sees one by its events or in a list, and means to change its network from
/// outside, is rarely that quick, and others have no reason to.
const LIFE_MAX: Duration = Duration::from_secs(1);
/// Says, beside a container's socket, that others have joined one of its namespaces.
const JOINED: &str = "joined";

/// Namespaces of a container, as long as they may be kept after it.
pub(super) struct Kept {
    spares: Spares,
    namespaces: Vec<(Kind, OwnedFd)>,
    /// None of these is kept yet.
    missing: Vec<Kind>,
    /// The mount namespace of which the container's is a copy, if it is not one of the machine's.
    bare: Option<OwnedFd>,
    root: Option<Root>,
}

/// The union that is a container's root.
pub(super) struct Root {
    union: SpareUnion,
    upper: PathBuf,
    /// A second mount of it, if it was not kept so far.
    new: Option<OwnedFd>,
}

impl Root {
    /// Mounts a container's root; with what may be kept of it, if it is of the kind that can be: whether the container left it
    /// as it was is looked at by who removes the container.
    pub(super) fn mount(plan: &MountPlan, layers: &LayerMounts) -> io::Result<(OwnedFd, Option<Self>)> {
        let Some(upper) = Self::upper_of(plan).filter(|upper| upper.volatile && user_namespace::is_initial()) else {
            return Ok((assemble(plan, layers)?, None));
        };
        let (union, upper) = (SpareUnion::new(layers.clone()), upper.dir.clone());
        let kept = union.copy(&upper).inspect_err(|error| tracing::debug!(%error, "no union that was kept"));
        if let Ok(Some(mount)) = kept {
            return Ok((mount, Some(Self { union, upper, new: None })));
        }
        let mount = assemble(plan, layers)?;
        // Before Linux 6.15 what is mounted nowhere cannot be copied.
        let second = detached::copy(mount.as_fd(), "", false).ok();
        Ok((mount, second.map(|new| Self { union, upper, new: Some(new) })))
    }

    /// The writable part of a union of images, which are mounted in the namespace in which it would be kept.
    fn upper_of(plan: &MountPlan) -> Option<&Upper> {
        match &plan.root {
            Mount::Union { how: Union::Overlay, lower, upper: Some(upper) }
                if lower.iter().any(|mount| matches!(mount, Mount::Image { .. })) =>
            {
                Some(upper)
            }
            _ => None,
        }
    }

    fn give(self) -> io::Result<()> {
        // Of what is full already nobody needs to know.
        if self.new.is_some() && std::fs::read_dir(&self.upper)?.next().is_some() {
            return Ok(());
        }
        self.union.give(&self.upper, self.new.as_ref().map(AsFd::as_fd))
    }
}

impl Kept {
    /// Takes what is free for a new container of the store at `root`; a network only if the container will be `alone` in it.
    pub(super) fn take(root: &Path, run_dir: &Path, alone: bool) -> Self {
        let spares = Spares::new(LayerMounts::new(root, run_dir));
        let wanted: &[Kind] = if alone { &[Kind::Network, Kind::Ipc] } else { &[Kind::Ipc] };
        let taken = spares.take(wanted).inspect_err(|error| tracing::debug!(%error, "no namespaces that were kept"));
        let Taken { free, missing, bare } = taken.unwrap_or_default();
        // Whoever is not root on the machine needs its device nodes.
        let bare = bare.filter(|_| user_namespace::is_initial());
        Self { spares, namespaces: free, missing, bare, root: None }
    }

    /// Those that were taken.
    pub(super) fn namespaces(&self) -> &[(Kind, OwnedFd)] {
        &self.namespaces
    }

    /// Those that the new process enters by itself, for clone(2).
    pub(super) fn set(&self) -> NamespaceSet {
        let mounts = if self.bare.is_some() { NamespaceSet::MOUNT } else { NamespaceSet::default() };
        self.namespaces.iter().fold(mounts, |all, (kind, _)| all.and(kind.namespace()))
    }

    /// The mount namespace that it is to copy, if that is not the shim's.
    pub(super) fn bare(&self) -> Option<BorrowedFd<'_>> {
        self.bare.as_ref().map(AsFd::as_fd)
    }

    /// Adds those of the new process `pid` of which none is kept.
    pub(super) fn add_missing(&mut self, pid: i32) {
        for kind in std::mem::take(&mut self.missing) {
            let path = format!("/proc/{pid}/ns/{}", kind.name());
            match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(namespace) => self.namespaces.push((kind, namespace)),
                Err(errno) => tracing::debug!(%errno, path, "a namespace is not kept"),
            }
        }
    }

    /// Only what the container `spec` cannot change unseen, of its `root`, too. Its files are below one of `ours`.
    pub(super) fn restricted(mut self, spec: &Spec, root: Option<Root>, ours: &[&Path]) -> Self {
        let is_alone = spec.namespaces.network == Network::None && spec.sysctls.is_empty();
        let is_plain = is_plain(spec, ours);
        self.root = root.filter(|_| is_plain);
        self.namespaces.retain(|(kind, _)| is_plain && (is_alone || *kind == Kind::Ipc));
        self
    }

    fn give(self) {
        if !self.namespaces.is_empty()
            && let Err(error) = self.spares.give(&self.namespaces)
        {
            tracing::debug!(%error, "a namespace is not kept");
        }
        if let Some(root) = self.root
            && let Err(error) = root.give()
        {
            tracing::debug!(%error, "a union is not kept");
        }
    }
}

/// Whether nothing in the container can change settings of its network and its queues: it has no more capabilities than
/// usual, and nowhere a `/proc` that can be written.
fn is_plain(spec: &Spec, ours: &[&Path]) -> bool {
    let protects = |path: &str| spec.readonly_paths.iter().any(|protected| protected == path);
    let is_ours = |mount: &spec::Mount| match &mount.source {
        MountSource::Bind { path, .. } => ours.iter().any(|ours| path.starts_with(ours)) && mount.target != "/proc",
        MountSource::Filesystem { .. } => false,
        MountSource::Tmpfs { .. } | MountSource::Secrets(_) | MountSource::Secret(_) | MountSource::Plan { .. } => true,
    };
    let bounding = spec.process.capabilities.bounding;
    bounding.intersection(CapSet::DOCKER) == bounding
        && protects("/proc/sys")
        && !spec.system_writable
        && spec.sysctls.keys().all(|name| name.starts_with("net."))
        && spec.devices.is_empty()
        && matches!(spec.device_rules, DeviceRules::Allow(_))
        && spec.shared_memory == SharedMemory::Own
        && spec.namespaces.user.is_none()
        && spec.mounts.iter().all(is_ours)
}

fn joined(run_dir: &Path, id: &ContainerId) -> PathBuf {
    socket_dir(run_dir, id).join(JOINED)
}

/// Says that somebody from outside joins a namespace of the container `id`, or writes to its files. Told before that is opened:
/// whoever opens it while there is somebody in it has said so before that one ended.
///
/// # Errors
/// When it cannot be said.
pub fn tell_joined(run_dir: &Path, id: &ContainerId) -> Result<(), Error> {
    let path = joined(run_dir, id);
    let made = std::fs::File::options().create(true).append(true).open(&path);
    made.map(drop).map_err(Error::path("make", path.display().to_string()))
}

impl Shim {
    /// Gives what the container's first run had to the next container, if nothing but its own program was ever in it.
    pub(super) fn give_kept(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        let was_short = self.run_began.elapsed() < LIFE_MAX;
        let had_one_program = self.next_number == 1;
        if was_short && had_one_program && !joined(&self.places.run_dir, &self.id).exists() {
            kept.give();
        }
    }
}
