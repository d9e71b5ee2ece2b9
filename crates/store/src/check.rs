//! Looking whether the store is whole: every record, every blob's digest, every layer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use strata_types::{ContainerId, DiffId, Digest, ImageId, Watch};

use crate::blobs::names;
use crate::error::BoxError;
use crate::records::{SnapshotRecord, containers_in, images_in, said_in, snapshots_in, tags_in, variants_in};
use crate::{Error, Key, Result, Store};

/// The files of layers, which the store records but does not keep. The snapshot store is one.
pub trait LayerFiles {
    /// The keys of all layers that have files.
    fn list(&self) -> Result<Vec<Key>, BoxError>;
    /// The keys that something with these layers (lowest first) needs files for.
    fn needed(&self, layers: &[DiffId]) -> Vec<Key>;
    /// Removes a layer's files; says whether they were there. A key that means nothing to the driver was not there.
    fn remove(&self, key: &Key) -> Result<bool, BoxError>;
    /// Looks at a layer's files again and says in words what is wrong with them, if anything.
    fn verify(&self, key: &Key, depth: Depth, watch: &dyn Watch) -> Result<Option<String>, BoxError>;
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// That all is there that should be, and can be made sense of. Does not see a changed byte of content.
    Structure,
    /// Every byte.
    Bytes,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The database is damaged.
    Database {
        /// What SQLite says about it.
        message: String,
    },
    /// Nothing says any more which storage driver the store has.
    DriverLost {
        /// The drivers that have layers there.
        owners: Vec<String>,
    },
    /// A blob that is needed is not there.
    BlobMissing {
        /// Which.
        digest: Digest,
        /// Whom it hurts.
        images: Vec<ImageId>,
    },
    /// A blob's bytes are not what its digest says.
    BlobDamaged {
        /// Which.
        digest: Digest,
        /// Whom it hurts; nobody if it is not needed.
        images: Vec<ImageId>,
    },
    /// A layer that is needed has no files.
    LayerMissing {
        /// Which.
        key: Key,
        /// Whom it hurts.
        images: Vec<ImageId>,
    },
    /// A layer's files are not what they should be.
    LayerDamaged {
        /// Which.
        key: Key,
        /// What is wrong.
        message: String,
        /// Whom it hurts; nobody if it is not needed.
        images: Vec<ImageId>,
    },
    /// A repair took away something the image needs, and it was not pulled again since.
    ImageIncomplete {
        /// Which.
        images: Vec<ImageId>,
    },
    /// A snapshot, or a container that stands on one, has lost a layer.
    SnapshotIncomplete {
        /// What: `snapshot NAME` or `container NAME`.
        what: String,
        /// The layer.
        key: Key,
    },
    /// There are files of a container that is not recorded: somebody died while making or removing it.
    ContainerUnrecorded {
        /// The directory's name, usually an id.
        name: String,
    },
    /// A recorded container has no files: somebody died while removing it.
    ContainerWithoutFiles {
        /// Which.
        id: ContainerId,
    },
}

impl Problem {
    /// The images it hurts.
    pub fn images(&self) -> &[ImageId] {
        match self {
            Self::BlobMissing { images, .. }
            | Self::BlobDamaged { images, .. }
            | Self::LayerMissing { images, .. }
            | Self::LayerDamaged { images, .. }
            | Self::ImageIncomplete { images } => images,
            Self::Database { .. }
            | Self::DriverLost { .. }
            | Self::SnapshotIncomplete { .. }
            | Self::ContainerUnrecorded { .. }
            | Self::ContainerWithoutFiles { .. } => &[],
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { message } => write!(f, "the database is damaged: {message}")?,
            Self::DriverLost { owners } => {
                write!(f, "the file `driver` is missing; there are layers of `{}`", owners.join("` and `"))?;
            }
            Self::BlobMissing { digest, .. } => write!(f, "blob {digest} is missing")?,
            Self::BlobDamaged { digest, .. } => write!(f, "blob {digest} is damaged")?,
            Self::LayerMissing { key, .. } => write!(f, "{key} is missing")?,
            Self::LayerDamaged { key, message, .. } => write!(f, "{key} is damaged: {message}")?,
            Self::ImageIncomplete { .. } => write!(f, "damaged content was removed")?,
            Self::SnapshotIncomplete { what, key } => write!(f, "{key} is missing; {what} needs it")?,
            Self::ContainerUnrecorded { name } => write!(f, "files of an unfinished container {name} are left")?,
            Self::ContainerWithoutFiles { id } => write!(f, "container {id} has lost its files")?,
        }
        match self.images() {
            [] => Ok(()),
            [image] => write!(f, "; image {} needs it", image.short()),
            images => {
                let ids: Vec<_> = images.iter().map(ImageId::short).collect();
                write!(f, "; images {} need it", ids.join(", "))
            }
        }
    }
}

/// Who needs what.
type Needs = BTreeMap<Key, BTreeSet<ImageId>>;

impl Store {
    /// Looks at everything again and returns what is wrong, in order of gravity. That nobody needs something is no problem.
    pub fn check(&self, files: &dyn LayerFiles, depth: Depth, watch: &dyn Watch) -> Result<Vec<Problem>> {
        let mut problems = self.check_database()?;
        if !problems.is_empty() {
            return Ok(problems);
        }
        let incomplete = self.incomplete()?;
        if !incomplete.is_empty() {
            problems.push(Problem::ImageIncomplete { images: incomplete.iter().cloned().collect() });
        }
        let needs = self.needs(files, &incomplete)?;
        self.check_blobs(&needs, depth, watch, &mut problems)?;
        self.check_layers(&needs, (files, depth), watch, &mut problems)?;
        self.check_snapshots(files, &mut problems)?;
        self.check_containers(&mut problems)?;
        Ok(problems)
    }

    fn check_database(&self) -> Result<Vec<Problem>> {
        let checked = self.database.read("check the database", |connection| {
            let mut problems = Vec::new();
            let mut query = connection.prepare("PRAGMA integrity_check(20)")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let message: String = row.get(0)?;
                if message != "ok" {
                    problems.push(Problem::Database { message });
                }
            }
            let mut query = connection.prepare("PRAGMA foreign_key_check")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
                problems.push(Problem::Database { message: format!("a {table} names a missing {parent}") });
            }
            Ok(problems)
        });
        match checked {
            Err(Error::Database { source, .. }) if is_corrupt(&source) => {
                Ok(vec![Problem::Database { message: source.to_string() }])
            }
            other => other,
        }
    }

    fn incomplete(&self) -> Result<BTreeSet<ImageId>> {
        let images = self.images().list()?;
        Ok(images.into_iter().filter(|image| image.damaged).map(|image| image.id).collect())
    }

    /// Who needs what. What a damaged image lacks is known already.
    fn needs(&self, files: &dyn LayerFiles, damaged: &BTreeSet<ImageId>) -> Result<Needs> {
        self.database.read("read the records", |connection| {
            let mut needs = Needs::new();
            for image in images_in(connection)?.into_iter().filter(|image| !damaged.contains(&image.id)) {
                let blobs = [Some(image.id.digest().clone()), image.manifest.clone(), image.index.clone()];
                let keys = blobs.into_iter().flatten().map(Key::Blob).chain(files.needed(&image.layers));
                keys.for_each(|key| {
                    needs.entry(key).or_default().insert(image.id.clone());
                });
            }
            for tag in tags_in(connection)?.into_iter().filter(|tag| !damaged.contains(&tag.image)) {
                for digest in [tag.manifest, tag.index].into_iter().flatten() {
                    needs.entry(Key::Blob(digest)).or_default().insert(tag.image.clone());
                }
            }
            let named = variants_in(connection)?.into_iter().map(|variant| (variant.image, variant.said));
            for (image, said) in named.chain(said_in(connection)?).filter(|(image, _)| !damaged.contains(image)) {
                said.keys().for_each(|key| _ = needs.entry(key).or_default().insert(image.clone()));
            }
            Ok(needs)
        })
    }

    /// The images that need what is not here.
    pub(crate) fn lacking(&self, files: &dyn LayerFiles) -> Result<BTreeSet<ImageId>> {
        let (blobs, layers) = (self.blobs().list()?, list_layers(files)?);
        let is_here = |key: &Key| match key {
            Key::Blob(digest) => blobs.binary_search(digest).is_ok(),
            layer => layers.contains(layer),
        };
        let needs = self.needs(files, &BTreeSet::new())?;
        Ok(needs.into_iter().filter(|(key, _)| !is_here(key)).flat_map(|(_, images)| images).collect())
    }

    fn check_blobs(&self, needs: &Needs, depth: Depth, watch: &dyn Watch, problems: &mut Vec<Problem>) -> Result<()> {
        let here = self.blobs().list()?;
        for key in needs.keys() {
            if let Key::Blob(digest) = key
                && here.binary_search(digest).is_err()
            {
                problems.push(Problem::BlobMissing { digest: digest.clone(), images: users(needs, key) });
            }
        }
        if depth == Depth::Structure {
            return Ok(());
        }
        for digest in here {
            stop_if(watch)?;
            // One that disappears meanwhile was not needed.
            if self.blobs().rehash(&digest)?.is_some_and(|found| found != digest) {
                let images = users(needs, &Key::Blob(digest.clone()));
                problems.push(Problem::BlobDamaged { digest, images });
            }
        }
        Ok(())
    }

    fn check_layers(
        &self,
        needs: &Needs,
        (files, depth): (&dyn LayerFiles, Depth),
        watch: &dyn Watch,
        problems: &mut Vec<Problem>,
    ) -> Result<()> {
        let here: BTreeSet<_> = list_layers(files)?;
        for key in needs.keys().filter(|key| !matches!(key, Key::Blob(_)) && !here.contains(key)) {
            problems.push(Problem::LayerMissing { key: key.clone(), images: users(needs, key) });
        }
        for key in here {
            stop_if(watch)?;
            let verified = files.verify(&key, depth, watch).map_err(|source| Error::Layers { act: "check", source })?;
            if let Some(message) = verified {
                let images = users(needs, &key);
                problems.push(Problem::LayerDamaged { key, message, images });
            }
        }
        Ok(())
    }

    /// Layers that only snapshots and their forks need.
    fn check_snapshots(&self, files: &dyn LayerFiles, problems: &mut Vec<Problem>) -> Result<()> {
        let holders = self.database.read("read the records", |connection| {
            let snapshots = snapshots_in(connection)?;
            if snapshots.is_empty() {
                return Ok(Vec::new());
            }
            let containers = containers_in(connection)?;
            let name = |id: &ContainerId| containers.iter().find(|one| one.id == *id).map_or("?", |one| &one.name);
            let named = |one: &SnapshotRecord| format!("snapshot {}:{}", name(&one.container), one.name);
            let of_snapshots = snapshots.iter().map(|one| (named(one), one.layers.clone()));
            let of_containers = containers.iter().map(|one| (format!("container {}", one.name), one.layers.clone()));
            Ok(of_snapshots.chain(of_containers).collect::<Vec<_>>())
        })?;
        if holders.is_empty() {
            return Ok(());
        }
        let here = list_layers(files)?;
        for (what, layers) in holders {
            let missing = files.needed(&layers).into_iter().filter(|key| !here.contains(key));
            problems.extend(missing.map(|key| Problem::SnapshotIncomplete { what: what.clone(), key }));
        }
        Ok(())
    }

    fn check_containers(&self, problems: &mut Vec<Problem>) -> Result<()> {
        let here: BTreeSet<_> = names(&self.dir("containers"))?.into_iter().collect();
        let containers = self.containers().list()?;
        for name in &here {
            if containers.iter().any(|container| container.id.as_str() == name) {
                continue;
            }
            // Whoever makes or removes a container holds its lock.
            let busy = match name.parse() {
                Ok(id) => self.try_lock_container(&id)?.map(|lock| lock.remove()).is_none(),
                Err(_) => false,
            };
            if !busy && !self.containers().is_recorded(name)? {
                problems.push(Problem::ContainerUnrecorded { name: name.clone() });
            }
        }
        for container in containers {
            if !here.contains(container.id.as_str())
                && self.try_lock_container(&container.id)?.is_some()
                && self.containers().is_recorded(container.id.as_str())?
                && !self.dir("containers").join(container.id.as_str()).exists()
            {
                problems.push(Problem::ContainerWithoutFiles { id: container.id });
            }
        }
        Ok(())
    }
}

/// Whether SQLite could not even look at the damage.
fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

fn list_layers(files: &dyn LayerFiles) -> Result<BTreeSet<Key>> {
    Ok(files.list().map_err(|source| Error::Layers { act: "list", source })?.into_iter().collect())
}

fn users(needs: &Needs, key: &Key) -> Vec<ImageId> {
    needs.get(key).into_iter().flatten().cloned().collect()
}

fn stop_if(watch: &dyn Watch) -> Result<()> {
    if watch.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}
