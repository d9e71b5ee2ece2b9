//! A step that runs: a container nobody lists, on layers that need not be an image's, whose changes become a layer.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use strata_layer::Time;
use strata_runtime::spec::{Mount, MountSource, Propagation, SecretFile};
use strata_runtime::{Attach, Outcome, Session};
use strata_snapshot::Prepare;
use strata_store::records::{ContainerRecord, LayerRecord};
use strata_sys::durable::FileError;
use strata_sys::failpoint;
use strata_sys::lock::Lock;
use strata_sys::signal::Signal;
use strata_types::mount::{Access, MountPlan};
use strata_types::{ContainerId, DiffId, Digest, ImageId, Platform, Watch};

use super::Workbench;
use crate::container::{
    ContainerConfig, ContainerError, Document, HostConfig, Known, Runs, check, check_config, check_host,
};
use crate::network::EndpointWish;
use crate::{Engine, Error, Result};

/// How often a step that runs is asked whether it should stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What to run.
#[derive(Clone, Debug)]
pub struct StepRequest<'a> {
    /// What it runs on, the lowest first.
    pub layers: &'a [DiffId],
    /// The program and what it sees.
    pub config: ContainerConfig,
    /// The host's part.
    pub host: HostConfig,
    /// Where it is connected.
    pub networks: Vec<EndpointWish>,
    /// What else is mounted.
    pub mounts: Vec<StepMount>,
    /// No time in the layer is later than this.
    pub newest: Option<Time>,
    /// What its programs are for.
    pub platform: Platform,
}

/// Something mounted for one step.
#[derive(Clone, Debug)]
pub struct StepMount {
    /// Where.
    pub target: String,
    /// It may not be written.
    pub read_only: bool,
    /// What.
    pub source: StepSource,
}

/// What is mounted.
#[derive(Clone, Debug)]
pub enum StepSource {
    /// A file or directory of the host.
    Host(PathBuf),
    /// The tree of layers, or a part of it.
    Layers {
        /// Which, the lowest first.
        layers: Vec<DiffId>,
        /// What part of it.
        subpath: Option<String>,
        /// It may be written; what is written is thrown away.
        writable: bool,
    },
    /// Memory.
    Memory {
        /// At most so large.
        size_bytes: Option<u64>,
    },
    /// A file in memory with the content of one of the host's.
    Secret {
        /// That one.
        source: PathBuf,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permissions.
        mode: u32,
    },
}

/// Where its output goes.
#[derive(Clone, Copy, Debug)]
pub struct StepStreams<'fd> {
    /// Its standard output.
    pub stdout: BorrowedFd<'fd>,
    /// Its errors.
    pub stderr: BorrowedFd<'fd>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDone {
    /// The exit code.
    pub exit_code: i32,
    /// What it changed, if it changed something and ended well.
    pub layer: Option<LayerRecord>,
}

impl Workbench<'_> {
    /// Runs a step to its end. It ends with this process, too, and leaves nothing but its layer.
    ///
    /// # Errors
    /// When it cannot be started, or was cancelled.
    pub fn run(&self, request: StepRequest<'_>, streams: StepStreams<'_>, watch: &dyn Watch) -> Result<StepDone> {
        let engine = self.engine;
        let mut scratch = Scratch { engine, made: Vec::new() };
        let (newest, extra) = (request.newest, mounts(&mut scratch, &request.mounts)?);
        let known = known(engine, request)?;
        // Held until nothing is left of it, so that nobody takes it for what a dead one left.
        let lock = engine.store().lock_container(known.id())?;
        let done = self.run_locked(&known, extra, newest, streams, watch);
        let cleared = engine.process(known.id()).cleanup().map_err(Error::from);
        let cleared = cleared.and_then(|()| engine.remove_files(known.id()));
        failpoint!("engine.step.removed");
        let unlocked = unlock(lock);
        let cleaned = scratch.clear();
        let done = done?;
        cleared.and(unlocked).and(cleaned).map(|()| done)
    }

    fn run_locked(
        &self,
        known: &Known,
        extra: Vec<Mount>,
        newest: Option<Time>,
        streams: StepStreams<'_>,
        watch: &dyn Watch,
    ) -> Result<StepDone> {
        let engine = self.engine;
        engine.snapshots()?.prepare(known.id(), &known.record.layers, Prepare { volatile: true, size_bytes: None })?;
        failpoint!("engine.step.prepared");
        let mut spec = engine.spec(known)?;
        spec.is_step = true;
        spec.attributes.clear();
        spec.mounts.retain(|mount| !extra.iter().any(|own| own.target == mount.target));
        spec.mounts.extend(extra);
        let attach = Attach { stdout: Some(streams.stdout), stderr: Some(streams.stderr), ..Attach::default() };
        let process = engine.process(known.id());
        let started = process.start(&spec, Some(attach))?;
        failpoint!("engine.step.started");
        let Some(session) = started.session else { return Err(strata_runtime::Error::ShimGone.into()) };
        if !ended(&session, watch)? {
            process.stop(Signal::KILL, Some(Duration::ZERO))?;
            return Err(Error::Cancelled);
        }
        let Outcome::Exited(exit_code) = session.wait()? else { return Err(strata_runtime::Error::ShimGone.into()) };
        failpoint!("engine.step.ended");
        let layer = match exit_code {
            0 => engine.seal_changes(&known.record, &self.lease, newest, watch)?,
            _ => None,
        };
        failpoint!("engine.step.sealed");
        Ok(StepDone { exit_code, layer })
    }
}

impl Engine {
    /// Takes away what is left of all steps whose builders died. What cannot be taken away is no reason not to go on.
    pub(crate) fn reap_steps(&self, recorded: &[ContainerRecord]) {
        let entries = std::fs::read_dir(self.settings().root.join("containers")).into_iter().flatten().flatten();
        for name in entries.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
            if recorded.iter().any(|container| container.id.as_str() == name) {
                continue;
            }
            if let Err(error) = self.reap_step(&name) {
                tracing::warn!(%name, %error, "what is left of a step of a build stays");
            }
        }
    }

    /// Takes away what is left of a step whose builder died; says whether it was one.
    pub(crate) fn reap_step(&self, id: &str) -> Result<bool> {
        let Ok(id) = id.parse::<ContainerId>() else { return Ok(false) };
        let Some(lock) = self.store().try_lock_container(&id)? else { return Ok(false) };
        let is_step = self.store().containers().get(&id)?.is_none() && self.container_dir(&id).exists();
        if is_step {
            // Its shim may not have heard yet that the builder is gone.
            self.process(&id).stop(Signal::KILL, Some(Duration::ZERO))?;
            self.process(&id).cleanup()?;
            self.remove_files(&id)?;
        }
        unlock(lock)?;
        Ok(is_step)
    }
}

/// Waits for the end of the step; false if it is to be stopped first.
fn ended(session: &Session, watch: &dyn Watch) -> Result<bool> {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(session.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) if watch.cancelled() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => {
                return Err(Error::Read { what: "how the step ended".to_owned(), source: errno.into() });
            }
        }
    }
}

/// The container that the step is, as if it had been recorded.
fn known(engine: &Engine, request: StepRequest<'_>) -> Result<Known> {
    let StepRequest { layers, mut config, mut host, mut networks, platform, .. } = request;
    let platform = engine.foreign(platform);
    if let Some(platform) = &platform
        && let Runs::Lacks(what) = engine.runs(platform)
    {
        let native = engine.platform();
        let sentence = format!(
            "cannot run programs for {platform} on {native}: {what} is not here; install the package `qemu-user-static`"
        );
        return Err(ContainerError::invalid(sentence));
    }
    check::host(&mut host)?;
    let mut warnings = Vec::new();
    engine.resolve_networks(&mut host, &mut networks, &mut warnings)?;
    check_config(&config)?;
    check_host(&host)?;
    host.auto_remove = true;
    host.log_config.kind = "none".to_owned();
    let id = ContainerId::from_random(strata_sys::random::bytes());
    if config.hostname.is_empty() {
        id.short().clone_into(&mut config.hostname);
    }
    let (mounts, secrets, user_namespace) = (Vec::new(), Vec::new(), None);
    let document = Document { config, host, mounts, secrets, networks, user_namespace, platform };
    let record = ContainerRecord {
        name: id.short().to_owned(),
        id,
        image: ImageId::new(Digest::sha256(b"")),
        image_name: String::new(),
        layers: layers.to_vec(),
        driver: engine.snapshots()?.driver_name().to_string(),
        created: engine.now(),
        spec: String::new(),
    };
    Ok(Known { record, document })
}

fn unlock(lock: Lock) -> Result<()> {
    let path = lock.path().to_owned();
    Ok(lock.remove().map_err(FileError::at("remove lock", &path))?)
}

/// Trees that a step may write and that nobody keeps.
struct Scratch<'e> {
    engine: &'e Engine,
    made: Vec<(ContainerId, Lock)>,
}

impl Scratch<'_> {
    fn plan(&mut self, layers: &[DiffId]) -> Result<MountPlan> {
        let (engine, id) = (self.engine, ContainerId::from_random(strata_sys::random::bytes()));
        let lock = engine.store().lock_container(&id)?;
        self.made.push((id.clone(), lock));
        let snapshots = engine.snapshots()?;
        snapshots.prepare(&id, layers, Prepare { volatile: true, size_bytes: None })?;
        failpoint!("engine.step.scratch");
        Ok(snapshots.plan(&id, Access::ReadWrite)?)
    }

    fn clear(self) -> Result<()> {
        for (id, lock) in self.made {
            self.engine.remove_files(&id)?;
            unlock(lock)?;
        }
        Ok(())
    }
}

fn mounts(scratch: &mut Scratch<'_>, wishes: &[StepMount]) -> Result<Vec<Mount>> {
    let mount = |wish: &StepMount| {
        let source = match &wish.source {
            StepSource::Host(path) if !path.exists() => {
                return Err(ContainerError::BindSource(path.clone()).into());
            }
            StepSource::Host(path) => MountSource::Bind {
                path: path.clone(),
                recursive: false,
                propagation: Propagation::Private,
                writable_below: false,
                subpath: None,
            },
            StepSource::Layers { layers, subpath, writable: true } => {
                MountSource::Plan { plan: scratch.plan(layers)?, subpath: subpath.clone() }
            }
            StepSource::Layers { layers, subpath, writable: false } => {
                MountSource::Plan { plan: scratch.engine.snapshots()?.view(layers)?, subpath: subpath.clone() }
            }
            StepSource::Memory { size_bytes } => {
                MountSource::Tmpfs { size_bytes: *size_bytes, mode: None, options: Vec::new() }
            }
            StepSource::Secret { source, uid, gid, mode } => {
                let name = wish.target.rsplit('/').next().unwrap_or_default().to_owned();
                MountSource::Secret(SecretFile { name, source: source.clone(), uid: *uid, gid: *gid, mode: *mode })
            }
        };
        Ok(Mount { target: wish.target.clone(), source, read_only: wish.read_only, exec: true })
    };
    wishes.iter().map(mount).collect()
}
