//! Records of containers that go with their program (`run --rm`), beside the database.
//!
//! To open the database, to parse its schema and to change it twice takes a short container as long as all else that its
//! command does (docs/decisions/0046). Its record is two small files instead, and what it has to know of the database is
//! kept in others until somebody changes that.
//!
//! ```text
//! ROOT/fleeting/
//!   lock                    flock'd: shared by who changes something here, exclusive by who writes to the database
//!   <container's id>        a record: its name in the first line, then JSON
//!   names/<name>            a link to the id: while it is there, the container is recorded
//!   taken                   they are being taken into the database; after a crash they may be in both
//!   known/names             which file the database is, and the names of all containers in it
//!   known/<image's digits>  the image's record
//!   known/<reference>       a link to that, by a hash
//!   known/<network>         a network's record, by a hash of what it is called
//! ```
//!
//! Whoever writes to the database first takes in all that is recorded here, in the same transaction, and forgets what is known
//! of it. So a writer sees every container in the tables, and nothing known is ever older than the tables. Nothing here is
//! synced: the containers do not outlive a reboot either.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Transaction;
use serde::de::DeserializeOwned;
use strata_sys::durable::FileError;
use strata_sys::lock::{Lock, Mode};
use strata_sys::{clock, failpoint};
use strata_types::reference::Reference;
use strata_types::{ContainerId, Digest, ErrorClass, ImageId};

use crate::Result;
use crate::records::{ContainerRecord, ImageRecord, NetworkRecord, take_container};

/// How long what is known of an image may be used: its last use, which is not noted meanwhile, is at most as much too early.
const KNOWN_MAX: Duration = Duration::from_secs(60);
/// With more containers than this, looking through their names is no quicker than asking the database.
const NAMES_MAX: usize = 1000;
/// The last line of `names`: what a power failure tore has none.
const END: &str = ".";

/// The records in a store's `fleeting` directory.
#[derive(Clone, Debug)]
pub(crate) struct Fleeting {
    dir: PathBuf,
    database: PathBuf,
}

/// Containers that are in the database by now, or will be with the transaction's end.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    from: &'a Fleeting,
    files: Vec<PathBuf>,
    /// There is a mark, or should be.
    has_mark: bool,
    /// It was not there before, so that none are in both.
    is_mark_new: bool,
}

impl Fleeting {
    /// That of the store at `root`.
    pub(crate) fn of(root: &Path) -> Self {
        Self { dir: root.join("fleeting"), database: root.join("strata.db") }
    }

    /// Keeps others from changing what is here, or from writing to the database. None if the disk has no room for the first
    /// lock: then nobody has recorded anything here, and a full disk must not keep people from removing things.
    pub(crate) fn lock(&self, mode: Mode) -> Result<Option<Lock>> {
        let path = self.dir.join("lock");
        let lock = match Lock::wait(&path, mode) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_dir(&self.dir).and_then(|()| Lock::wait(&path, mode))
            }
            lock => lock,
        };
        match lock.map_err(FileError::at("lock", &path)) {
            Err(error) if error.class() == ErrorClass::Exhausted => Ok(None),
            lock => Ok(lock.map(Some)?),
        }
    }

    /// Whether perhaps enough is known to do without the database.
    pub(crate) fn has_known(&self) -> bool {
        self.known().join("names").exists() && self.database.exists()
    }

    /// The image that a reference names, if that is known.
    pub(crate) fn image(&self, name: &Reference) -> Option<ImageRecord> {
        self.recall(&hash("reference", &name.to_string()))
    }

    /// The network that a person means by these words, if that is known.
    pub(crate) fn network(&self, what: &str) -> Option<NetworkRecord> {
        self.recall(&hash("network", what))
    }

    fn recall<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.known_names()?;
        serde_json::from_slice(&fs::read(self.known().join(name)).ok()?).ok()
    }

    /// Keeps what a reader of the database has found, who has the lock: an image, and the names of all containers.
    pub(crate) fn learn_image(&self, name: &Reference, image: &ImageRecord, containers: &[String]) {
        let age = image.last_used.and_then(|at| clock::now().duration_since(SystemTime::from(at)).ok());
        // The next container has to note that it was used.
        if age.is_some_and(|age| age <= KNOWN_MAX) {
            self.learn(containers, |known| {
                let digits = image.id.digest().hex();
                put(&known.join(digits), &serde_json::to_vec(image)?)?;
                let linked = std::os::unix::fs::symlink(digits, known.join(hash("reference", &name.to_string())));
                linked.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
            });
        }
    }

    /// The same for a network.
    pub(crate) fn learn_network(&self, what: &str, network: &NetworkRecord, containers: &[String]) {
        self.learn(containers, |known| put(&known.join(hash("network", what)), &serde_json::to_vec(network)?));
    }

    fn learn(&self, containers: &[String], keep: impl FnOnce(&Path) -> io::Result<()>) {
        if containers.len() > NAMES_MAX {
            return;
        }
        let known = self.known();
        let lines = identity(&self.database).map(|first| std::iter::once(first).chain(containers.iter().cloned()));
        let learned = lines.and_then(|lines| {
            let text: String = lines.chain([END.to_owned()]).map(|line| line + "\n").collect();
            make_dir(&known)?;
            keep(&known)?;
            put(&known.join("names"), text.as_bytes())
        });
        if let Err(error) = learned {
            tracing::debug!(%error, "what is known of the database is not kept");
        }
    }

    /// Forgets what is known of the database, for who is going to change it. The names go last: without them nothing counts,
    /// and with them it all does.
    pub(crate) fn forget_known(&self) -> Result<()> {
        let known = self.known();
        let mut names = crate::blobs::names(&known)?;
        names.sort_unstable_by_key(|name| name == "names");
        for name in names {
            let path = known.join(name);
            fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
        }
        Ok(())
    }

    /// Records a container, if all that has to be true of it is known to be. No says only that the database has to be asked.
    pub(crate) fn insert(&self, container: &ContainerRecord) -> bool {
        self.try_insert(container).unwrap_or_else(|error| {
            tracing::debug!(%error, "a container is recorded in the database");
            false
        })
    }

    fn try_insert(&self, container: &ContainerRecord) -> Result<bool, Box<dyn std::error::Error>> {
        let Some(_still) = self.lock(Mode::Shared)? else { return Ok(false) };
        let Some(names) = self.known_names().filter(|_| !self.is_being_taken()) else { return Ok(false) };
        if names.lines().any(|name| name == container.name) || !self.is_fresh(&container.image) {
            return Ok(false);
        }
        let path = self.dir.join(container.id.as_str());
        let mut bytes = format!("{}\n", container.name).into_bytes();
        serde_json::to_writer(&mut bytes, container)?;
        create(&path, &bytes)?;
        failpoint!("store.fleeting.before-name");
        let link = self.name_of(&container.name);
        let mut named = std::os::unix::fs::symlink(container.id.as_str(), &link);
        if named.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            make_dir(&self.names())?;
            named = std::os::unix::fs::symlink(container.id.as_str(), &link);
        }
        if let Err(error) = named {
            fs::remove_file(&path)?;
            return Err(error.into());
        }
        failpoint!("store.fleeting.after-name");
        Ok(true)
    }

    /// Forgets a container that is recorded here; no if it is not.
    pub(crate) fn remove(&self, id: &ContainerId) -> Result<bool> {
        let path = self.dir.join(id.as_str());
        // Hardly anybody waits for the lock for nothing.
        let Some((name, _)) = read(&path) else { return Ok(false) };
        let _still = self.lock(Mode::Shared)?;
        if self.is_being_taken() || !self.is_named(&name, id) {
            return Ok(false);
        }
        let link = self.name_of(&name);
        fs::remove_file(&link).map_err(FileError::at("remove", &link))?;
        failpoint!("store.fleeting.nameless");
        fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
        Ok(true)
    }

    /// The container with this id, if it is recorded here. Whoever asks the database as well asks here first: what is taken in
    /// meanwhile is there before it is gone from here.
    pub(crate) fn by_id(&self, id: &str) -> Option<ContainerRecord> {
        let id = id.parse::<ContainerId>().ok()?;
        let (name, json) = read(&self.dir.join(id.as_str()))?;
        let record = serde_json::from_str(&json).ok()?;
        self.is_named(&name, &id).then_some(record)
    }

    /// The container with this name, if it is recorded here.
    pub(crate) fn by_name(&self, name: &str) -> Option<ContainerRecord> {
        // What people type may lead anywhere.
        if name.contains('/') {
            return None;
        }
        let id = fs::read_link(self.name_of(name)).ok()?;
        self.by_id(id.to_str()?)
    }

    /// All that are recorded here.
    pub(crate) fn list(&self) -> Result<Vec<ContainerRecord>> {
        Ok(crate::blobs::names(&self.names())?.iter().filter_map(|name| self.by_name(name)).collect())
    }

    /// Whether it is known that the database has no containers. To be asked after those that are recorded here: who takes them
    /// in forgets what is known before.
    pub(crate) fn has_all(&self) -> bool {
        self.known_names().is_some_and(|names| names.lines().eq([END]))
    }

    /// Takes what is recorded here into the database, for who has the lock alone.
    pub(crate) fn take_in(&self, transaction: &Transaction<'_>) -> Result<Taken<'_>> {
        let mut taken = Taken { from: self, files: Vec::new(), has_mark: false, is_mark_new: false };
        let links = crate::blobs::names(&self.names())?;
        let others = crate::blobs::names(&self.dir)?;
        let others = others.iter().filter(|name| name.parse::<ContainerId>().is_ok());
        // Names of what is not there, and what has no name, are of somebody who died.
        taken.files = links.iter().map(|name| self.name_of(name)).chain(others.map(|id| self.dir.join(id))).collect();
        if taken.files.is_empty() && !self.is_being_taken() {
            return Ok(taken);
        }
        taken.has_mark = true;
        // Only a crash makes a difference, and a full disk must not keep anybody from removing things.
        match std::os::unix::fs::symlink(".", self.mark()) {
            Ok(()) => taken.is_mark_new = true,
            Err(error) => tracing::debug!(%error, "no new mark that containers are taken into the database"),
        }
        for container in self.list()? {
            take_container(transaction, &container)?;
        }
        Ok(taken)
    }

    /// The names of all containers in the database, if they are known: in lines, among others.
    fn known_names(&self) -> Option<String> {
        let text = fs::read_to_string(self.known().join("names")).ok()?;
        let (first, rest) = text.split_once('\n')?;
        let is_whole = rest.lines().next_back() == Some(END) && rest.ends_with('\n');
        (is_whole && identity(&self.database).is_ok_and(|now| now == first)).then(|| rest.to_owned())
    }

    /// Whether an image is there and was found to be used not long ago.
    fn is_fresh(&self, image: &ImageId) -> bool {
        let about = fs::metadata(self.known().join(image.digest().hex())).and_then(|about| about.modified());
        about.is_ok_and(|at| clock::now().duration_since(at).is_ok_and(|age| age <= KNOWN_MAX))
    }

    fn is_named(&self, name: &str, id: &ContainerId) -> bool {
        fs::read_link(self.name_of(name)).is_ok_and(|to| to.as_os_str() == OsStr::new(id.as_str()))
    }

    fn is_being_taken(&self) -> bool {
        self.mark().is_symlink()
    }

    fn mark(&self) -> PathBuf {
        self.dir.join("taken")
    }

    fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    fn name_of(&self, name: &str) -> PathBuf {
        self.names().join(name)
    }

    fn known(&self) -> PathBuf {
        self.dir.join("known")
    }
}

impl Taken<'_> {
    /// The transaction is over, and they are in the database.
    pub(crate) fn finish(mut self) {
        // Until all are gone from here, who removes one asks the database.
        self.is_mark_new = false;
        failpoint!("store.fleeting.in-both");
        let gone = |path: &PathBuf| strata_sys::durable::found(fs::remove_file(path)).is_ok();
        if self.has_mark && self.files.iter().all(gone) {
            drop(fs::remove_file(self.from.mark()));
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.is_mark_new {
            drop(fs::remove_file(self.from.mark()));
        }
    }
}

/// Containers found here and in the database, each once.
pub(crate) fn merge(mut here: Vec<ContainerRecord>, there: Vec<ContainerRecord>) -> Vec<ContainerRecord> {
    if here.is_empty() {
        return there;
    }
    let both: BTreeSet<_> = there.iter().map(|container| container.id.clone()).collect();
    here.retain(|container| !both.contains(&container.id));
    here.extend(there);
    here.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    here
}

/// The name and the JSON of a record.
fn read(path: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(path).ok()?;
    text.split_once('\n').map(|(name, json)| (name.to_owned(), json.to_owned()))
}

/// Which file this is, as long as nobody puts another in its place.
fn identity(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    Ok(format!("{} {}", about.dev(), about.ino()))
}

/// What somebody calls a thing as the name of a file.
fn hash(kind: &str, what: &str) -> String {
    format!("{kind}-{}", Digest::sha256(what.as_bytes()).hex())
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Writes a new file.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes);
    if written.is_err() {
        drop(fs::remove_file(path));
    }
    written
}

/// Puts a file in place, whole.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(strata_sys::random::hex::<6>());
    create(&draft, bytes)?;
    fs::rename(&draft, path)
}
