//! Making a container: a record that has a name, a writable layer, volumes. Nothing runs yet.

use std::path::Path;

use strata_snapshot::Prepare;
use strata_store::Durability;
use strata_store::records::{ContainerRecord, ImageRecord, Inserted};
use strata_sys::failpoint;
use strata_types::ContainerId;
use strata_types::config::{ImageConfig, RunConfig};

use crate::container::{
    ContainerConfig, ContainerError, Document, HostConfig, Known, MountRequest, SecretMount, check, life, merge, names,
    spec, storage, user_namespace,
};
use crate::image::ImageError;
use crate::network::EndpointWish;
use crate::{Engine, Result, events};

/// How often a name at random may be taken before we give up: by then the world is full of containers.
const NAME_TRIES_MAX: usize = 20;

/// What a container is made from.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// Its name; one at random without.
    pub name: Option<String>,
    /// The image.
    pub image: ImageRecord,
    /// The image as the person named it.
    pub image_name: String,
    /// Settings; what is open is taken from the image.
    pub config: ContainerConfig,
    /// The host's part.
    pub host: HostConfig,
    /// What to mount.
    pub mounts: Vec<MountRequest>,
    /// Secrets to give it.
    pub secrets: Vec<SecretMount>,
    /// Where to connect it; the default network if it is empty and the host's part does not say.
    pub networks: Vec<EndpointWish>,
}

/// A container that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The container.
    pub known: Known,
    /// Sentences for the person.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Makes a container. If that fails, nothing of it stays.
    ///
    /// # Errors
    /// When the request contradicts itself, the name is taken, the image is gone or the disk is full.
    pub fn create_container(&self, request: CreateRequest) -> Result<Created> {
        let CreateRequest { name, image, image_name, mut config, mut host, mounts, secrets, mut networks } = request;
        if let Some(name) = &name {
            check::name(name)?;
        }
        check::host(&mut host)?;
        let prepare = storage::prepare(&host)?;
        let mut warnings = Vec::new();
        self.resolve_networks(&mut host, &mut networks, &mut warnings)?;
        self.resolve_ipc(&mut host)?;
        let image_config = self.config(&image.id)?;
        refuse_other_system(&image_config)?;
        let platform = self.foreign(image_config.platform());
        warnings.extend(platform.as_ref().and_then(|platform| self.foreign_warning(platform, &host)));
        merge::merge(&mut config.run, &image_config.fields.config)?;
        config.image.clone_from(&image_name);
        check_config(&config)?;
        spec::check(&host)?;
        let secrets = self.resolve_secrets(secrets)?;
        let id = self.new_id();
        if config.hostname.is_empty() {
            config.hostname = hostname(&id, &host);
        }
        let volatile = host.auto_remove;
        let taken = self.take_ids(user_namespace::wish(&host)?)?;
        let user_namespace = taken.maps.clone();
        let mut document = Document { config, host, mounts: Vec::new(), secrets, networks, user_namespace, platform };
        let resolved = self.resolve_mounts(&document, mounts, &image.layers, &mut warnings)?;
        document.mounts = resolved.mounts;
        let mut record = ContainerRecord {
            id,
            name: String::new(),
            image: image.id,
            image_name,
            layers: image.layers,
            driver: self.snapshots()?.driver_name().to_string(),
            created: self.now(),
            spec: document.print(),
        };
        // Held until its files are there, so that nobody takes it for a container that has lost them.
        let _making = self.store().lock_container(&record.id)?;
        if let Err(error) = self.record(&mut record, name, volatile) {
            self.discard_volumes(&resolved.new_volumes);
            return Err(error);
        }
        drop(taken);
        let known = Known { record, document };
        match self.furnish(&known, prepare) {
            Ok(()) => {
                self.record_event(events::of(&known, "create"));
                Ok(Created { known, warnings })
            }
            Err(error) => {
                self.undo(&known);
                self.discard_volumes(&resolved.new_volumes);
                Err(error)
            }
        }
    }

    /// Records the container under its name, or under a name nobody has.
    fn record(&self, record: &mut ContainerRecord, name: Option<String>, volatile: bool) -> Result<()> {
        let durability = if volatile { Durability::Ephemeral } else { Durability::Durable };
        let chosen = name.is_some();
        record.name = name.unwrap_or_else(names::random);
        for attempt in 1.. {
            match self.store().containers().insert(record, durability)? {
                Inserted::Done => return Ok(()),
                Inserted::ImageGone => return Err(ContainerError::ImageGone(record.image_name.clone()).into()),
                Inserted::NameTaken(_) if !chosen && attempt < NAME_TRIES_MAX => record.name = names::random(),
                Inserted::NameTaken(_) if !chosen && attempt == NAME_TRIES_MAX => {
                    record.name = format!("{}_{}", names::random(), record.id.short());
                }
                Inserted::NameTaken(holder) if attempt < NAME_TRIES_MAX && self.is_debris(&holder)? => {}
                Inserted::NameTaken(holder) => {
                    return Err(ContainerError::NameTaken { name: record.name.clone(), holder }.into());
                }
            }
        }
        Ok(())
    }

    /// Makes the container's directory and writable layer.
    fn furnish(&self, known: &Known, prepare: Prepare) -> Result<()> {
        failpoint!("engine.create.before-files");
        let (snapshots, layers) = (self.snapshots()?, &known.record.layers);
        match prepare {
            Prepare { volatile: true, size_bytes: None } => snapshots.prepare_short(known.id(), layers)?,
            other => snapshots.prepare(known.id(), layers, other)?,
        }
        failpoint!("engine.create.after-files");
        Ok(())
    }

    /// Removes what there is of a container that could not be made. The first error is the one to tell.
    pub(crate) fn undo(&self, known: &Known) {
        let removed = self
            .remove_files(known.id())
            .and_then(|()| Ok(self.store().containers().remove(known.id(), known.durability()).map(drop)?));
        if let Err(error) = removed {
            tracing::warn!(container = %known.id(), %error, "cannot remove a container that could not be made");
        }
    }

    /// Removes a container's writable layer and its directory.
    pub(crate) fn remove_files(&self, id: &ContainerId) -> Result<()> {
        Ok(self.snapshots()?.remove_dir(id)?)
    }
}

/// Refuses an image whose programs this kernel cannot run, whatever the processor.
pub(crate) fn refuse_other_system(config: &ImageConfig) -> Result<()> {
    let os = &config.os;
    let is_ours = os.is_empty() || os.eq_ignore_ascii_case(std::env::consts::OS);
    if is_ours { Ok(()) } else { Err(ImageError::OperatingSystem(os.clone()).into()) }
}

pub(crate) fn check_config(config: &ContainerConfig) -> Result<()> {
    check::stop_signal(&config.run.stop_signal)?;
    if let Some(check) = &config.run.healthcheck {
        life::check_health(check)?;
    }
    let RunConfig { working_dir, env, .. } = &config.run;
    if !working_dir.is_empty() && !Path::new(working_dir).is_absolute() {
        let sentence = format!("the working directory '{working_dir}' is invalid, it needs to be an absolute path");
        return Err(ContainerError::invalid(sentence));
    }
    if let Some(bad) = env.iter().find(|variable| variable.is_empty() || variable.starts_with('=')) {
        return Err(ContainerError::invalid(format!("invalid environment variable: {bad}")));
    }
    Ok(())
}

/// A container's host name: the start of its id, or the host's own where it shares the host's.
fn hostname(id: &ContainerId, host: &HostConfig) -> String {
    let shares = host.network_mode == "host" || host.uts_mode == "host";
    if shares { rustix::system::uname().nodename().to_string_lossy().into_owned() } else { id.short().to_owned() }
}
