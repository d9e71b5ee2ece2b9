//! Layers and containers by name.

use std::io::{self, Read};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use strata_layer::diff::Change;
use strata_layer::tar::Times;
use strata_layer::{Time, Unpacked};
use strata_sys::assemble::assemble;
use strata_sys::durable::{self, Durability};
use strata_sys::layer_mounts::LayerMounts;
use strata_sys::lock::{Lock, Mode};
use strata_sys::reflink;
use strata_sys::root_dir::RootDir;
use strata_types::mount::{Access, Mount, MountPlan};
use strata_types::{ChainId, ContainerId, DiffId, Digest, Watch};

use crate::chosen;
use crate::driver::upper;
use crate::driver::{Changes, Driver, FILES, Leaving, Source, Stack, WindowsFilter};
use crate::places;
use crate::staging::{self, Staging};
use crate::{Availability, DriverName, Error, Model, Result};

/// The layered filesystems of one store.
#[derive(Debug)]
pub struct Snapshots {
    root: PathBuf,
    driver: Box<dyn Driver>,
    pub(crate) mounts: LayerMounts,
    /// Shared as long as somebody works with the driver: whoever moves the store to another one waits for all.
    pub(crate) in_use: Lock,
}

/// Where the layers are and who keeps them.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store's root directory.
    pub root: PathBuf,
    /// For what a reboot may lose: the shared mounts.
    pub run_dir: PathBuf,
    /// The driver to use; the best that works here if none is named. A store keeps the driver it was made with.
    pub driver: Option<DriverName>,
}

/// A layer that is now in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerAdded {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of content: what Docker calls a layer's size.
    pub size_bytes: u64,
    /// Bytes of the tar.
    pub tar_bytes: u64,
    /// Whether it was there already.
    pub was_there: bool,
}

/// What a container's tree is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The container is removed when it ends, so its files need not survive a power failure.
    pub volatile: bool,
    /// How much its tree may hold, the files of its layers included.
    pub size_bytes: Option<u64>,
}

/// What something takes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the files' blocks.
    pub disk_bytes: u64,
    /// Bytes of the files' content.
    pub content_bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

/// What a container stands on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Footing {
    pub(crate) layers: Vec<DiffId>,
    pub(crate) volatile: bool,
    /// Somebody is just putting the container on these layers, or died while doing so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unsettled: bool,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            disk_bytes: self.disk_bytes + other.disk_bytes,
            content_bytes: self.content_bytes + other.content_bytes,
            inodes: self.inodes + other.inodes,
        }
    }
}

impl Snapshots {
    /// Opens the layers of a store. Cheap once the store has a driver: nothing is probed or mounted.
    pub fn open(options: Options) -> Result<Self> {
        let Options { root, run_dir, driver } = options;
        durable::create_dirs(&root.join("layers"), 0o711)?;
        let path = root.join("layers/driver.lock");
        let in_use = Lock::wait(&path, Mode::Shared).map_err(Error::at("lock", &path))?;
        let name = chosen::driver(&root, driver)?;
        let mounts = LayerMounts::new(&root, &run_dir);
        Ok(Self { driver: name.driver(&root), root, mounts, in_use })
    }

    /// The same store as another driver would keep it, for whoever moves it there.
    pub(crate) fn with_driver(&self, name: DriverName) -> Result<Self> {
        let path = self.root.join("layers/migration.lock");
        let in_use = Lock::wait(&path, Mode::Exclusive).map_err(Error::at("lock", &path))?;
        Ok(Self { root: self.root.clone(), driver: name.driver(&self.root), mounts: self.mounts.clone(), in_use })
    }

    /// The store's root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Which driver keeps the layers.
    pub fn driver_name(&self) -> DriverName {
        self.driver.name()
    }

    /// What a layer's directory holds.
    pub fn model(&self) -> Model {
        self.driver.model()
    }

    /// Tries every driver, and says why those that do not work here do not.
    pub fn availability(&self) -> Result<Vec<Availability>> {
        chosen::availability(&self.root)
    }

    /// The shared mounts of the layers, as `sys::assemble` needs them.
    pub fn layer_mounts(&self) -> &LayerMounts {
        &self.mounts
    }

    /// Whether the uppermost of `chain` (lowest first) is here. True for no layers.
    pub fn has_layer(&self, chain: &[DiffId]) -> bool {
        self.digest_for(chain).is_none_or(|digest| self.layer_dir(&digest).is_dir())
    }

    /// Takes in a layer on top of `parents`: a tar, compressed or not. With `expected` the content must have that digest.
    /// Atomic, and safe beside others who do the same.
    pub fn import_layer(
        &self,
        parents: &[DiffId],
        expected: Option<&DiffId>,
        source: &mut dyn Read,
        watch: &dyn Watch,
    ) -> Result<LayerAdded> {
        self.import(parents, expected, Source { tar: source, shares: None }, watch)
    }

    pub(crate) fn import(
        &self,
        parents: &[DiffId],
        expected: Option<&DiffId>,
        source: Source<'_>,
        watch: &dyn Watch,
    ) -> Result<LayerAdded> {
        let below = self.dirs(parents)?;
        self.add(parents, expected, |new| self.driver.fill(new, &below, source, watch))
    }

    /// Opens the tar of the uppermost layer of `chain`: exactly the bytes of its diff id.
    pub fn open_layer_tar(&self, chain: &[DiffId]) -> Result<Box<dyn Read + Send>> {
        if let Some(dir) = self.of_windows(chain) {
            return WindowsFilter.tar(&dir);
        }
        match self.top(chain)? {
            Some(top) => self.driver.tar(&top),
            None => Ok(Box::new(io::empty())),
        }
    }

    /// How long that tar is, if the driver knows it without producing it.
    pub fn layer_tar_bytes(&self, chain: &[DiffId]) -> Result<Option<u64>> {
        if let Some(dir) = self.of_windows(chain) {
            return WindowsFilter.tar_bytes(&dir);
        }
        self.top(chain)?.map_or(Ok(Some(0)), |top| self.driver.tar_bytes(&top))
    }

    /// Where the files of each layer of `chain` are, the uppermost first; `None` if a layer's directory has those of all
    /// below it, too.
    pub fn files_of(&self, chain: &[DiffId]) -> Option<Vec<PathBuf>> {
        let files = |layer: &DiffId| {
            let dir = self.layer_dir(layer.digest());
            Some(dir.join(FILES)).filter(|files| files.is_dir()).unwrap_or(dir)
        };
        (self.driver.model() == Model::Diff).then(|| chain.iter().rev().map(files).collect())
    }

    /// What the uppermost layer of `chain` takes on the disk.
    pub fn layer_usage(&self, chain: &[DiffId]) -> Result<Usage> {
        match self.top(chain)? {
            Some(top) => self.usage_at(&top),
            None => Ok(Usage::default()),
        }
    }

    /// Makes a container's writable layer on top of `layers`. Its directory may hold files of others.
    pub fn prepare(&self, id: &ContainerId, layers: &[DiffId], options: Prepare) -> Result<()> {
        self.prepare_all(&[id], layers, options)
    }

    /// [`prepare`](Self::prepare) for several containers: they wait for the disk together. After an error some are made and
    /// others are not.
    pub fn prepare_all(&self, ids: &[&ContainerId], layers: &[DiffId], options: Prepare) -> Result<()> {
        let dirs = self.dirs(layers)?;
        let footing = Footing { layers: layers.to_vec(), volatile: options.volatile, unsettled: false };
        let mut files = Vec::new();
        for id in ids {
            let container = self.container_dir(id);
            durable::create_dirs(&container, 0o710)?;
            self.furnish(&container, &dirs, options)?;
            let path = container.join(FOOTING);
            let text = serde_json::to_vec(&footing);
            files.push((path, text.map_err(|source| Error::Record { path: container, source })?));
        }
        let durability = if options.volatile { Durability::Ephemeral } else { Durability::Durable };
        Ok(durable::write_files(&files, 0o600, durability)?)
    }

    /// Makes the driver's parts of a container in an empty directory.
    pub(crate) fn furnish(&self, dir: &Path, layers: &[PathBuf], options: Prepare) -> Result<()> {
        if options.size_bytes.is_some()
            && let Some(reason) = self.driver.no_limit(dir)?
        {
            return Err(Error::NoLimit { driver: self.driver.name(), reason });
        }
        self.driver.prepare(dir, layers, options.size_bytes)
    }

    /// Why containers cannot be limited in what they hold, in words.
    pub fn no_limit(&self) -> Result<Option<String>> {
        self.driver.no_limit(&self.root)
    }

    /// [`plan`](Self::plan) for a container that has to stand on `layers`: it may have been put on others, but not all
    /// the way.
    pub fn plan_on(&self, id: &ContainerId, layers: &[DiffId], access: Access) -> Result<MountPlan> {
        let standing = self.footing(id)?;
        if standing.0.layers != layers {
            return Err(Error::Unsettled(id.clone()));
        }
        self.plan_of(id, standing, access)
    }

    /// Says how a container's tree is mounted.
    pub fn plan(&self, id: &ContainerId, access: Access) -> Result<MountPlan> {
        self.plan_of(id, self.footing(id)?, access)
    }

    fn plan_of(&self, id: &ContainerId, standing: (Footing, Vec<PathBuf>), access: Access) -> Result<MountPlan> {
        let (footing, dirs) = standing;
        let container = self.container_dir(id);
        let (empty, places) = (self.empty_dir()?, places::ensure(&self.root.join("layers/places"))?);
        let derived = self.derived_dir();
        let stack = Stack {
            layers: &dirs,
            container: Some(&container),
            volatile: footing.volatile,
            empty: &empty,
            derived: &derived,
            places: Some(&places),
        };
        let root = self.driver.mount(&stack, access)?;
        Ok(MountPlan { root, access })
    }

    /// Says how the tree of some layers is mounted, read-only.
    pub fn view(&self, layers: &[DiffId]) -> Result<MountPlan> {
        let (dirs, empty, derived) = (self.dirs(layers)?, self.empty_dir()?, self.derived_dir());
        let stack =
            Stack { layers: &dirs, container: None, volatile: false, empty: &empty, derived: &derived, places: None };
        let root = self.driver.mount(&stack, Access::ReadOnly)?;
        Ok(MountPlan { root, access: Access::ReadOnly })
    }

    /// The tree that a plan describes, mounted where only this descriptor reaches it. The tree of a running container must
    /// not be opened for writing here: the kernel does not know that two overlays write one directory.
    pub fn open_root(&self, plan: &MountPlan) -> Result<RootDir> {
        if let Mount::Union { upper: Some(upper), .. } = &plan.root
            && let Some(spare) = self.spare()
        {
            // A union that is mounted already does not know what this one changes.
            spare.leave(&upper.dir)?;
        }
        let mount = assemble(plan, &self.mounts);
        let mount =
            mount.map_err(|source| Error::Mount { act: "mount a filesystem", driver: self.driver.name(), source })?;
        Ok(RootDir::new(mount))
    }

    /// Copies the directory `dir` of some layers' tree to the empty directory `to`, as a new volume wants it. False, and
    /// nothing is done, if there is no such directory.
    pub fn copy_out(&self, layers: &[DiffId], dir: &Path, to: &Path) -> Result<bool> {
        let root = self.open_root(&self.view(layers)?)?;
        match root.open(dir, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(from) => crate::driver::copy_tree(from.as_fd(), to).map(|()| true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(Error::at("open", dir)(error)),
        }
    }

    /// Lists what a container changed, sorted by path.
    pub fn changes(&self, id: &ContainerId) -> Result<Vec<Change>> {
        let (_, dirs) = self.footing(id)?;
        self.driver.changes(&self.container_dir(id), &dirs)
    }

    /// Makes what a container changed a layer on top of the container's layers. Costs what changed. Times later than
    /// `newest` become it.
    pub fn commit(&self, id: &ContainerId, newest: Option<Time>, watch: &dyn Watch) -> Result<LayerAdded> {
        let (footing, dirs) = self.footing(id)?;
        let container = self.container_dir(id);
        // Shared blocks want content at their multiples: on another disk the same files would be another layer.
        if newest.is_none() && reflink::works_in(&container) {
            let (layers, capture) = self.take_down(id, Times::Seconds, watch)?;
            return self.seal_tar(&layers, capture.finish()?, watch);
        }
        self.add(&footing.layers, None, |new| {
            self.driver.pack(new, &Changes { below: &dirs, container: &container, newest }, watch)
        })
    }

    /// The layers a container stands on, lowest first.
    pub fn layers_of(&self, id: &ContainerId) -> Result<Vec<DiffId>> {
        Ok(self.footing(id)?.0.layers)
    }

    /// What a container's own layer takes on the disk.
    pub fn usage(&self, id: &ContainerId) -> Result<Usage> {
        let container = self.container_dir(id);
        // The first of a driver's parts holds what was written; others are scratch space.
        let part = self.driver.parts().first().map(|part| container.join(part)).filter(|part| part.is_dir());
        let here = part.map_or(Ok(Usage::default()), |part| usage(&part))?;
        Ok(here + self.usage_elsewhere(&container, Access::ReadWrite)?)
    }

    /// What files take that are not in the layer's or container's directory.
    fn usage_elsewhere(&self, holder: &Path, access: Access) -> Result<Usage> {
        match self.driver.files(holder, access)? {
            Some(root) => usage(&PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()))),
            None => Ok(Usage::default()),
        }
    }

    /// Whether a container has its writable layer. Somebody who died while making or removing it left none.
    pub fn has_container(&self, id: &ContainerId) -> bool {
        self.container_dir(id).join(FOOTING).exists()
    }

    /// Removes a container's writable layer; it may not be there.
    pub fn remove(&self, id: &ContainerId) -> Result<()> {
        let container = self.container_dir(id);
        self.spare().map_or(Ok(()), |spare| spare.leave(&upper::dir(&container)))?;
        // The footing comes last when it is made, so it goes first: with it there is all, without it nothing counts.
        for part in [FOOTING].iter().chain(self.driver.parts()) {
            durable::remove(&container.join(part))?;
        }
        self.driver.tidy()
    }

    /// Removes a container's directory: its writable layer, and what others have put beside that. It may not be there.
    pub fn remove_dir(&self, id: &ContainerId) -> Result<()> {
        let container = self.container_dir(id);
        if !self.spare().map_or(Ok(false), |spare| spare.keep(&container))? {
            durable::remove(&container.join(FOOTING))?;
            durable::remove(&container)?;
        }
        self.driver.tidy()
    }

    /// Makes it durable that removed containers are gone: a record must not be gone before its files.
    pub fn settle(&self) -> Result<()> {
        self.driver.settle(&self.root.join("containers"))
    }

    /// Where a container's files are.
    pub fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.as_str())
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    pub(crate) fn layer_dir(&self, digest: &Digest) -> PathBuf {
        self.layers_dir().join(digest.hex())
    }

    /// The digests by which sealed layers are named. Clears away what makers that died left behind, and what removals had no
    /// room to give back.
    pub(crate) fn sealed(&self) -> Result<Vec<Digest>> {
        staging::sweep(&self.layers_dir())?;
        self.driver.tidy()?;
        self.driver.reclaim(&self.layers_dir(), &Leaving::default())?;
        let mut names = names(&self.layers_dir())?;
        names.retain(|name| self.layers_dir().join(name).is_dir());
        Ok(names.iter().filter_map(|name| digest_of_hex(name)).collect())
    }

    /// Removes a layer's files. What containers have mounted stays valid for them.
    pub(crate) fn remove_sealed(&self, digest: &Digest) -> Result<bool> {
        let layer = self.layer_dir(digest);
        self.drop_spare()?;
        let leaving = self.driver.leaving(&layer, &self.derived_dir())?;
        for derived in self.driver.discard_derived(&layer, &self.derived_dir())? {
            self.forget(&derived)?;
        }
        let was_there = staging::discard(&layer, &self.layers_dir())?;
        self.forget(digest.hex())?;
        if let Some(leaving) = leaving {
            self.driver.reclaim(&self.layers_dir(), &leaving)?;
        }
        self.driver.tidy()?;
        Ok(was_there)
    }

    /// What a layer's directory takes on the disk, and what it keeps of layers that are gone.
    pub(crate) fn usage_at(&self, layer: &Path) -> Result<Usage> {
        let mut used = usage(layer)? + self.usage_elsewhere(layer, Access::ReadOnly)?;
        if let Some(others) = self.driver.of_others(layer).filter(|others| others.is_dir()) {
            let others = usage_below(&others)?;
            used.disk_bytes = used.disk_bytes - others.disk_bytes + self.driver.kept_of_the_gone(layer)?;
            used.content_bytes -= others.content_bytes;
            used.inodes -= others.inodes;
        }
        Ok(used)
    }

    /// Unmounts what is shared under a layer's name.
    fn forget(&self, name: &str) -> Result<()> {
        let forgotten = self.mounts.forget(name);
        forgotten.map_err(|source| Error::Mount { act: "unmount a layer", driver: self.driver.name(), source })
    }

    pub(crate) fn layers_dir(&self) -> PathBuf {
        self.root.join("layers").join(self.driver.name().as_str())
    }

    /// What the driver makes of layers and can make again.
    pub(crate) fn derived_dir(&self) -> PathBuf {
        self.root.join("layers").join(format!("{}-derived", self.driver.name()))
    }

    /// An empty directory on the store's filesystem.
    fn empty_dir(&self) -> Result<PathBuf> {
        let empty = self.root.join("layers/empty");
        if !empty.is_dir() {
            durable::create_dirs(&empty, 0o755)?;
        }
        Ok(empty)
    }

    fn digest_for(&self, chain: &[DiffId]) -> Option<Digest> {
        match self.driver.model() {
            Model::Diff => chain.last().map(|layer| layer.digest().clone()),
            Model::Tree => ChainId::of(chain).map(|chain| chain.digest().clone()),
        }
    }

    /// Where the uppermost layer of a chain is if Windows images have it. Its tar is the one that others have, too.
    fn of_windows(&self, chain: &[DiffId]) -> Option<PathBuf> {
        chain.last().map(|layer| self.windows_dir(layer)).filter(|dir| dir.is_dir())
    }

    /// The directories of all layers of a chain; all must be there.
    pub(crate) fn dirs(&self, chain: &[DiffId]) -> Result<Vec<PathBuf>> {
        let home = self.layers_dir();
        let mut below: Option<ChainId> = None;
        chain
            .iter()
            .map(|layer| match self.driver.model() {
                Model::Diff => self.there(home.join(layer.digest().hex()), layer),
                Model::Tree => {
                    let next = below.as_ref().map_or_else(|| ChainId::new(layer.digest().clone()), |id| id.with(layer));
                    let dir = home.join(next.digest().hex());
                    below = Some(next);
                    self.there(dir, layer)
                }
            })
            .collect()
    }

    /// The directory of the uppermost layer of a chain, which must be there; none for no layers.
    fn top(&self, chain: &[DiffId]) -> Result<Option<PathBuf>> {
        let (Some(layer), Some(digest)) = (chain.last(), self.digest_for(chain)) else { return Ok(None) };
        self.there(self.layer_dir(&digest), layer).map(Some)
    }

    /// The directory of a layer, if it is there.
    fn there(&self, dir: PathBuf, layer: &DiffId) -> Result<PathBuf> {
        if dir.is_dir() {
            return Ok(dir);
        }
        match self.windows_dir(layer).is_dir() {
            true => Err(Error::Windows),
            false => Err(Error::LayerMissing(layer.clone())),
        }
    }

    pub(crate) fn footing(&self, id: &ContainerId) -> Result<(Footing, Vec<PathBuf>)> {
        let path = self.container_dir(id).join(FOOTING);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::ContainerMissing(id.clone())),
            read => read.map_err(Error::at("read", &path))?,
        };
        let footing: Footing = serde_json::from_slice(&text).map_err(|source| Error::Record { path, source })?;
        if footing.unsettled {
            return Err(Error::Unsettled(id.clone()));
        }
        let dirs = self.dirs(&footing.layers)?;
        Ok((footing, dirs))
    }

    /// Lets `fill` write a layer into a new directory, and puts it into place under the name its content has.
    fn add(
        &self,
        parents: &[DiffId],
        expected: Option<&DiffId>,
        fill: impl FnOnce(&Path) -> Result<Unpacked>,
    ) -> Result<LayerAdded> {
        let layers = self.layers_dir();
        staging::sweep(&layers)?;
        let new = Staging::new(&layers)?;
        let Unpacked { diff_id, content_bytes: size_bytes, tar_bytes, .. } = fill(new.path())?;
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(Error::DiffId { expected: expected.clone(), actual: diff_id });
        }
        let chain: Vec<DiffId> = parents.iter().chain([&diff_id]).cloned().collect();
        let target = self.digest_for(&chain).map(|digest| self.layer_dir(&digest)).unwrap_or_default();
        // What a removed layer of this name left mounted must not be taken for the new one.
        if !target.exists() {
            self.forget(&target.file_name().unwrap_or_default().to_string_lossy())?;
        }
        let was_there = !new.publish(&target)?;
        Ok(LayerAdded { diff_id, size_bytes, tar_bytes, was_there })
    }
}

pub(crate) const FOOTING: &str = "layers.json";

pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(Error::at("list", dir))?,
    };
    entries.map(|entry| Ok(entry.map_err(Error::at("list", dir))?.file_name().to_string_lossy().into_owned())).collect()
}

pub(crate) fn digest_of_hex(hex: &str) -> Option<Digest> {
    let algorithm = if hex.len() == 128 { "sha512" } else { "sha256" };
    format!("{algorithm}:{hex}").parse().ok()
}

/// Adds up a directory and what is in it.
pub(crate) fn usage(dir: &Path) -> Result<Usage> {
    let own = std::fs::metadata(dir).map_err(Error::at("look at", dir))?;
    Ok(Usage { disk_bytes: own.blocks() * 512, content_bytes: 0, inodes: 1 } + usage_below(dir)?)
}

/// Adds up what is in a directory, each inode once.
fn usage_below(dir: &Path) -> Result<Usage> {
    let mut total = Usage::default();
    let mut seen = std::collections::HashSet::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).map_err(Error::at("list", &dir))? {
            let entry = entry.map_err(Error::at("list", &dir))?;
            let metadata = entry.metadata().map_err(Error::at("look at", &dir))?;
            if metadata.is_dir() {
                open.push(entry.path());
            } else if !seen.insert(metadata.ino()) {
                continue;
            }
            total.disk_bytes += metadata.blocks() * 512;
            total.inodes += 1;
            if metadata.is_file() {
                total.content_bytes += metadata.len();
            }
        }
    }
    Ok(total)
}
