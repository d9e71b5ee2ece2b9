//! Starting further containers from a snapshot.

use strata_runtime::Started;
use strata_store::records::{ContainerRecord, Inserted, SnapshotRecord};
use strata_sys::failpoint;
use strata_types::ContainerId;

use crate::container::{ContainerError, Document, Known, MountFrom, VolumeRequest, check, storage, user_namespace};
use crate::{Engine, Result, events, parallel};

/// What to make of a snapshot.
#[derive(Clone, Debug)]
pub struct ForkWish {
    /// The new containers' names.
    pub names: Vec<String>,
    /// Whether they are started.
    pub start: bool,
}

/// A container that was forked.
#[derive(Debug)]
pub struct Forked {
    /// The container.
    pub known: Known,
    /// Its process, or why it could not be started; none if it was not to be.
    pub started: Option<Result<Started>>,
}

impl Engine {
    /// Makes containers that begin with the files of a snapshot and with the settings its container had then. They share
    /// its layers and copy nothing; what must be one container's own is new: id, name, host name, anonymous volumes, and
    /// ports of the host, which are chosen anew.
    ///
    /// # Errors
    /// When a name is taken or none, or the snapshot is gone. Then none of them was made.
    pub fn fork(&self, snapshot: &SnapshotRecord, wish: &ForkWish) -> Result<Vec<Forked>> {
        wish.names.iter().try_for_each(|name| check::name(name))?;
        if let Some(twice) = wish.names.iter().enumerate().find(|(at, name)| wish.names[..*at].contains(name)) {
            return Err(ContainerError::invalid(format!("the name {:?} is given twice", twice.1)));
        }
        let lease = self.store().lease()?;
        lease.protect_layers(&snapshot.layers)?;
        if !self.has_layer(&snapshot.layers)? {
            return Err(ContainerError::NoSnapshot(snapshot.name.clone()).into());
        }
        let mut volumes = Vec::new();
        let made = self.make_forks(snapshot, wish, &mut volumes);
        if made.is_err() {
            self.discard_volumes(&volumes);
        }
        let made = made?;
        lease.release()?;
        let start = |known: Known| {
            let started = wish.start.then(|| self.start_container(&known, None)).map(|started| match started {
                Ok(Some(started)) => Ok(started),
                Ok(None) => {
                    let sentence = format!("container {} runs already", known.record.name);
                    Err(ContainerError::Running(sentence).into())
                }
                Err(error) => Err(error),
            });
            Forked { known, started }
        };
        Ok(parallel::map(made, start))
    }

    fn make_forks(&self, snapshot: &SnapshotRecord, wish: &ForkWish, volumes: &mut Vec<String>) -> Result<Vec<Known>> {
        let document = Document::parse(&snapshot.spec)
            .map_err(|source| ContainerError::Record(snapshot.container.clone(), source))?;
        let users = user_namespace::wish(&document.host)?;
        let (maps, _choosing) = self.take_many_ids(users, wish.names.len())?;
        let mut maps = maps.into_iter();
        let mut forks = Vec::new();
        for name in &wish.names {
            let mut document = document.clone();
            document.user_namespace = maps.next();
            forks.push(self.describe_fork(snapshot, document, name, volumes)?);
        }
        // Held until their files are there, so that nobody takes them for containers that have lost them.
        let locks = forks.iter().map(|fork| self.store().lock_container(fork.id()));
        let _making = locks.collect::<Result<Vec<_>, _>>()?;
        let records: Vec<ContainerRecord> = forks.iter().map(|fork| fork.record.clone()).collect();
        loop {
            match self.store().snapshots().insert_forks(&records, &snapshot.id)? {
                Inserted::Done => break,
                Inserted::ImageGone => return Err(ContainerError::NoSnapshot(snapshot.name.clone()).into()),
                Inserted::NameTaken(holder) if self.is_debris(&holder)? => {}
                Inserted::NameTaken(holder) => {
                    let taken = self.store().containers().get(&holder)?.map(|record| record.name).unwrap_or_default();
                    return Err(ContainerError::NameTaken { name: taken, holder }.into());
                }
            }
        }
        failpoint!("engine.fork.recorded");
        forks.iter().for_each(|fork| self.record_event(events::of(fork, "create")));
        let prepare = storage::prepare(&document.host)?;
        let ids: Vec<&ContainerId> = forks.iter().map(Known::id).collect();
        if let Err(error) = self.snapshots()?.prepare_all(&ids, &snapshot.layers, prepare) {
            forks.iter().for_each(|fork| self.undo(fork));
            return Err(error.into());
        }
        failpoint!("engine.fork.furnished");
        Ok(forks)
    }

    /// The record of a fork: the other container's settings, but for what must be its own.
    fn describe_fork(
        &self,
        snapshot: &SnapshotRecord,
        mut document: Document,
        name: &str,
        volumes: &mut Vec<String>,
    ) -> Result<Known> {
        let id = ContainerId::from_random(strata_sys::random::bytes());
        if document.config.hostname == snapshot.container.short() {
            document.config.hostname = id.short().to_owned();
        }
        document.host.container_id_file = String::new();
        for binding in document.host.port_bindings.values_mut().flatten() {
            binding.host_port = String::new();
        }
        for point in &mut document.mounts {
            let MountFrom::Volume { name, anonymous: true, .. } = &mut point.source else { continue };
            let (new, _) = self.ensure_volume(VolumeRequest::default(), true)?;
            volumes.push(new.clone());
            self.fill_volume(&new, &snapshot.layers, std::path::Path::new(&point.target))?;
            *name = new;
        }
        let record = ContainerRecord {
            id,
            name: name.to_owned(),
            image: snapshot.image.clone(),
            image_name: snapshot.image_name.clone(),
            layers: snapshot.layers.clone(),
            driver: self.snapshots()?.driver_name().to_string(),
            created: self.now(),
            spec: document.print(),
        };
        Ok(Known { record, document })
    }
}
