//! Volumes: directories that outlive containers.
//!
//! ```text
//! ROOT/volumes/<name>/_data/    what containers see
//! ROOT/volumes/<name>/.filled/  what an image has at the volume's place, on its way there; garbage when nobody fills it
//! ROOT/volumes/<name>/.lock     flock'd by who does
//! ```

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use strata_store::records::{CreatedVolume, VolumeRecord};
use strata_sys::durable::{self, FileError};
use strata_sys::failpoint;
use strata_sys::lock::{Lock, Mode};
use strata_types::DiffId;

use crate::container::backing::Backing;
use crate::container::{ContainerError, Known, MountFrom};
use crate::events::{Happening, Kind};
use crate::{Engine, Result};

/// The label that Docker gives to volumes without a name.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The only driver there is.
const DRIVER: &str = "local";

/// A volume to be made.
#[derive(Clone, Debug, Default)]
pub struct VolumeRequest {
    /// Its name; 64 random digits without.
    pub name: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The driver; `local` without.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

/// A volume and who uses it.
#[derive(Clone, Debug)]
pub struct VolumeUse {
    /// The volume.
    pub record: VolumeRecord,
    /// Where its files are.
    pub mountpoint: PathBuf,
    /// How many containers mount it.
    pub containers: usize,
}

impl Engine {
    /// Makes a volume, unless there is one of that name; gives its name.
    ///
    /// # Errors
    /// When the name is none for a volume, or the driver is not known.
    pub fn create_volume(&self, request: VolumeRequest) -> Result<String> {
        let anonymous = request.name.is_none();
        Ok(self.ensure_volume(request, anonymous)?.0)
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn volumes(&self) -> Result<Vec<VolumeUse>> {
        let records = self.store().volumes().list()?;
        records.into_iter().map(|record| self.volume_use(record)).collect()
    }

    /// One volume.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn volume(&self, name: &str) -> Result<VolumeUse> {
        let record = self.store().volumes().get(name)?;
        self.volume_use(record.ok_or_else(|| ContainerError::NoVolume(name.to_owned()))?)
    }

    /// Removes a volume with all that is in it.
    ///
    /// # Errors
    /// When there is none of that name (unless forced), or containers use it.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        if self.store().volumes().get(name)?.is_none() {
            return if force { Ok(()) } else { Err(ContainerError::NoVolume(name.to_owned()).into()) };
        }
        let users = self.volume_users(name)?;
        if !users.is_empty() {
            return Err(ContainerError::VolumeInUse { name: name.to_owned(), users }.into());
        }
        durable::remove(&self.volume_root(name))?;
        failpoint!("engine.volume-rm.emptied");
        self.store().volumes().remove(name)?;
        self.record_event(Happening::new(Kind::Volume, "destroy", name).with("driver", DRIVER));
        Ok(())
    }

    /// Finds or makes a volume; says whether it is new.
    pub(crate) fn ensure_volume(&self, request: VolumeRequest, anonymous: bool) -> Result<(String, bool)> {
        let VolumeRequest { name, mut labels, driver, options } = request;
        if anonymous {
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        let driver = driver.unwrap_or_else(|| DRIVER.to_owned());
        let name = name.unwrap_or_else(strata_sys::random::hex::<32>);
        if driver != DRIVER {
            return Err(ContainerError::invalid(format!(
                "create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
        check_name(&name)?;
        Backing::of(&options).map_err(|error| ContainerError::invalid(format!("create {name}: {error}")))?;
        durable::create_dirs(&self.volume_root(&name), 0o701)?;
        durable::create_dirs(&self.volume_root(&name).join("_data"), 0o755)?;
        failpoint!("engine.volume.made");
        let record = VolumeRecord { name: name.clone(), driver, options, labels, anonymous, created: self.now() };
        let new = self.store().volumes().create(&record)? == CreatedVolume::New;
        if new {
            self.record_event(Happening::new(Kind::Volume, "create", &name).with("driver", DRIVER));
        }
        Ok((name, new))
    }

    /// Copies what the image has at `target` into an empty volume: all of it or nothing, whoever dies meanwhile, unless
    /// other containers see the volume already.
    pub(crate) fn fill_volume(&self, name: &str, layers: &[DiffId], target: &Path) -> Result<()> {
        if !self.volume_backing(name)?.is_directory() {
            return Ok(());
        }
        let data = self.volume_dir(name)?;
        let mut list = std::fs::read_dir(&data).map_err(ContainerError::step(format!("cannot list volume {name}")))?;
        if list.next().is_some() || layers.is_empty() {
            return Ok(());
        }
        if !self.volume_users(name)?.is_empty() {
            return self.copy_into(&data, layers, target).map(drop);
        }
        let (new, lock) = (data.with_file_name(".filled"), data.with_file_name(".lock"));
        let lock = Lock::wait(&lock, Mode::Exclusive).map_err(FileError::at("lock", &lock))?;
        durable::remove(&new)?;
        durable::create_dirs(&new, 0o755)?;
        if self.copy_into(&new, layers, target)? {
            failpoint!("engine.volume.filled");
            match durable::rename(&new, &data) {
                // Somebody else has filled it.
                Err(error) if error.source.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
                renamed => renamed?,
            }
        }
        durable::remove(&new)?;
        Ok(lock.remove().map_err(FileError::at("unlock", &data))?)
    }

    /// Copies what an image has at `target`, durably; says whether it has a directory there.
    fn copy_into(&self, dir: &Path, layers: &[DiffId], target: &Path) -> Result<bool> {
        let copied = self.snapshots()?.copy_out(layers, target, dir)?;
        if copied {
            let opened = std::fs::File::open(dir).map_err(FileError::at("open", dir))?;
            rustix::fs::syncfs(opened).map_err(|errno| FileError::at("sync", dir)(errno.into()))?;
        }
        Ok(copied)
    }

    /// Where a volume's files are.
    pub(super) fn volume_dir(&self, name: &str) -> Result<PathBuf> {
        Ok(match self.volume_backing(name)? {
            Backing::Bind { path, .. } => path,
            _ => self.volume_root(name).join("_data"),
        })
    }

    /// Checks that a directory of a volume is there. Whoever mounts it looks again, by descriptor: containers may change
    /// the volume meanwhile.
    pub(super) fn check_subpath(&self, name: &str, subpath: &str) -> Result<()> {
        let inside =
            Path::new(subpath).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let data = self.volume_dir(name)?;
        // A link in a volume was made by a container: it must not lead to the host's files.
        let real = data.join(subpath).canonicalize().ok().filter(|real| inside && real.starts_with(&data));
        let missing = || ContainerError::invalid(format!("cannot access path {subpath} in volume {name}"));
        real.map(drop).ok_or_else(missing)
    }

    /// Removes volumes that were made for a container that could not be made. The first error is the one to tell.
    pub(crate) fn discard_volumes(&self, names: &[String]) {
        for name in names {
            if let Err(error) = self.remove_volume(name, true) {
                tracing::warn!(%name, %error, "a volume stays although its container could not be made");
            }
        }
    }

    /// The containers that mount a volume.
    pub(crate) fn volume_users(&self, name: &str) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for record in self.container_records()? {
            let known = Known::read(record)?;
            if uses(&known, name) {
                users.push(known.record.id.to_string());
            }
        }
        Ok(users)
    }

    fn volume_use(&self, record: VolumeRecord) -> Result<VolumeUse> {
        let containers = self.volume_users(&record.name)?.len();
        Ok(VolumeUse { mountpoint: self.volume_root(&record.name).join("_data"), containers, record })
    }

    fn volume_root(&self, name: &str) -> PathBuf {
        self.settings().root.join("volumes").join(name)
    }
}

fn uses(known: &Known, volume: &str) -> bool {
    known.document.mounts.iter().any(|point| matches!(&point.source, MountFrom::Volume { name, .. } if name == volume))
}

fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        let what = "volume name is too short, names should be at least two alphanumeric characters";
        return Err(ContainerError::invalid(format!("create {name}: {what}")));
    }
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest {
        return Ok(());
    }
    let what = "includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path";
    Err(ContainerError::invalid(format!("create {name}: \"{name}\" {what}")))
}
