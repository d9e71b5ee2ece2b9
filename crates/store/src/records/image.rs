//! Images: a config and its layers.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use strata_types::reference::Reference;
use strata_types::{ContainerId, DiffId, Digest, ImageId};

use super::{LayerForm, LayerRecord, Said, TagRecord, VariantRecord, layer, row, said, tag, variant};
use crate::{Durability, Key, Result, Store, lease};

/// An image that is here: its config is a blob, its layers are in the layer store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest of its config.
    pub id: ImageId,
    /// The manifest it came with, kept as a blob; none for images made here and never pushed.
    pub manifest: Option<Digest>,
    /// The manifest's media type; empty if there is none.
    pub media_type: String,
    /// The index the manifest was chosen from, kept as a blob.
    pub index: Option<Digest>,
    /// The sum of the uncompressed layers.
    pub size_bytes: u64,
    /// Its layers, the lowest first.
    pub layers: Vec<DiffId>,
    /// The image it was committed from.
    pub parent: Option<ImageId>,
    /// When it came here.
    pub added: Timestamp,
    /// When its config says it was made.
    pub created: Option<Timestamp>,
    /// When a container was last made from it, or removed that was.
    pub last_used: Option<Timestamp>,
    /// `check --repair` took away something it needs: pulling it again mends it.
    pub damaged: bool,
}

/// An image and all that is recorded with it in one transaction.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// The image.
    pub image: ImageRecord,
    /// References that name it from now on.
    pub tags: Vec<TagRecord>,
    /// Its layers.
    pub layers: Vec<LayerRecord>,
    /// The compressed forms its layers came in.
    pub forms: Vec<LayerForm>,
    /// What is said of it as long as it has no name; none leaves what was said before.
    pub said: Option<Said>,
}

/// Whether an image that containers use may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// It stays.
    Keep,
    /// It goes; its layers stay as long as the containers.
    Remove,
}

/// What is removed together: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The names. One that is gone already is no matter.
    pub tags: Vec<Reference>,
    /// The images, each before the one it was committed from. None of them may have other names or children than these.
    pub images: Vec<ImageId>,
    /// What to do if containers use the first image. The others stay then, and so does everything.
    pub in_use: InUse,
}

/// What became of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is done. These names and images were there; [`Store::gc`] frees what nobody else needs.
    Done(Vec<TagRecord>, Vec<ImageRecord>),
    /// These containers use the first image; nothing was done.
    Used(Vec<ContainerId>),
    /// Somebody gave one of the images a name, a child or a container meanwhile; nothing was done.
    Changed,
}

/// The images of a store.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    pub(crate) store: &'a Store,
}

impl Images<'_> {
    /// Records an image with its tags and layers, durably. Recording it again adds what is new and heals `damaged`.
    /// Whoever calls it holds a lease on the blobs and layers.
    pub fn add(&self, new: &NewImage) -> Result<()> {
        self.add_all(std::slice::from_ref(new), &[])
    }

    /// [`add`](Self::add) for several images at once, and what tags of theirs stand for. If all of that is recorded already,
    /// only the times of the tags change, which is not worth a sync.
    pub fn add_all(&self, new: &[NewImage], variants: &[VariantRecord]) -> Result<()> {
        let database = &self.store.database;
        let is_known = |connection: &Connection| are_known(connection, new, variants);
        if database.read("look for the image", is_known)? {
            let is_done = database.write(Durability::Ephemeral, "record the image again", |transaction| {
                let is_known = is_known(transaction)?;
                if is_known {
                    self.insert_all(transaction, new, variants)?;
                }
                Ok(is_known)
            })?;
            if is_done {
                return Ok(());
            }
        }
        database
            .write(Durability::Durable, "record the image", |transaction| self.insert_all(transaction, new, variants))
    }

    fn insert_all(&self, transaction: &Transaction<'_>, new: &[NewImage], variants: &[VariantRecord]) -> Result<()> {
        for new in new {
            insert(transaction, &new.image)?;
            for record in &new.layers {
                layer::insert(transaction, record)?;
            }
            for form in &new.forms {
                layer::insert_form(transaction, form)?;
            }
            for record in &new.tags {
                tag::insert(transaction, record)?;
            }
            if let Some(said) = &new.said {
                said::set(transaction, &new.image.id, said)?;
            }
            let said = || new.said.iter().flat_map(Said::keys);
            lease::rescue(self.store, transaction, &|| keys(&new.image).into_iter().chain(said()).collect())?;
        }
        variant::insert(transaction, variants)?;
        lease::rescue(self.store, transaction, &|| variant::keys(variants).collect())
    }

    /// The image with this id.
    pub fn get(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        self.store.database.read_one("read the image's record", |connection| by_id(connection, id))
    }

    /// What is said of an image as long as it has no name.
    pub fn said(&self, id: &ImageId) -> Result<Said> {
        self.store.database.read_one("read what is said of the image", |connection| said::of(connection, id))
    }

    /// The image whose id starts with these hex digits; an error if several do.
    pub fn find(&self, prefix: &str) -> Result<Option<ImageRecord>> {
        let Some((from, to)) = row::hex_range("sha256:", prefix) else { return Ok(None) };
        self.store.database.read_one("look for an image", |connection| {
            let mut query = connection.prepare_cached("SELECT * FROM image WHERE id >= ?1 AND id < ?2 LIMIT 2")?;
            row::only(row::all(query.query([from, to])?, read)?, "image", prefix)
        })
    }

    /// All images, the newest first.
    pub fn list(&self) -> Result<Vec<ImageRecord>> {
        self.store.database.read_one("list the images", list)
    }

    /// The images that were committed from this one.
    pub fn children(&self, id: &ImageId) -> Result<Vec<ImageId>> {
        self.store.database.read_one("look for the image's children", |connection| children(connection, id))
    }

    /// Notes that the image was used. Not worth a sync.
    pub fn touch(&self, id: &ImageId, at: Timestamp) -> Result<()> {
        self.store
            .database
            .write(Durability::Ephemeral, "note the image's use", |transaction| note_use(transaction, id, at))
    }

    /// Removes images and names from the records in one step, so that a crash leaves all of them or none. If images go, the
    /// step is durable with the [collection](Store::gc) that follows, which syncs before it deletes anything.
    pub fn remove(&self, removal: &Removal) -> Result<Removed> {
        let durability = if removal.images.is_empty() { Durability::Durable } else { Durability::Ephemeral };
        self.store.database.write(durability, "remove the image", |transaction| {
            if let Some(obstacle) = obstacle(transaction, removal)? {
                return Ok(obstacle);
            }
            let (mut tags, mut images) = (Vec::new(), Vec::new());
            for name in &removal.tags {
                tags.extend(tag::remove(transaction, name)?);
            }
            for id in &removal.images {
                let Some(image) = by_id(transaction, id)? else { continue };
                let said = said::of(transaction, id)?;
                transaction.execute("DELETE FROM image WHERE id = ?1", [id.to_string()])?;
                lease::discard(transaction, keys(&image).into_iter().chain(said.keys()))?;
                images.push(image);
            }
            Ok(Removed::Done(tags, images))
        })
    }

    /// Notes that something the image needs is gone, or that it is there again.
    pub(crate) fn mark(&self, id: &ImageId, damaged: bool) -> Result<()> {
        self.store.database.write(Durability::Durable, "mark the image as damaged or whole", |transaction| {
            transaction.execute("UPDATE image SET damaged = ?2 WHERE id = ?1", params![id.to_string(), damaged])?;
            Ok(())
        })
    }
}

/// How exactly the time of an image's last use is kept. Who runs a hundred containers a second would change its record twice
/// for each.
const USE_NS: i64 = 60_000_000_000;

/// Notes that an image, if it is there, was used.
pub(super) fn note_use(transaction: &Transaction<'_>, id: &ImageId, at: Timestamp) -> Result<()> {
    let mut update = transaction.prepare_cached(
        "UPDATE image SET last_used = ?2 WHERE id = ?1 AND (last_used IS NULL OR last_used NOT BETWEEN ?3 AND ?2)",
    )?;
    let at = row::to_ns(at);
    update.execute(params![id.to_string(), at, at.saturating_sub(USE_NS)])?;
    Ok(())
}

/// Whether recording all this would change nothing but times. What an image needs was made durable with it.
fn are_known(connection: &Connection, new: &[NewImage], variants: &[VariantRecord]) -> Result<bool> {
    for NewImage { image, tags, forms, said, .. } in new {
        let Some(known) = by_id(connection, &image.id)? else { return Ok(false) };
        let is_same = !known.damaged
            && (image.manifest.is_none() || (&image.manifest, &image.index) == (&known.manifest, &known.index))
            && (image.parent.is_none() || known.parent.is_some());
        let is_said =
            said.as_ref().map_or(Ok(true), |new| said::of(connection, &image.id).map(|known| known == *new))?;
        if !is_same || !is_said || !forms.is_empty() {
            return Ok(false);
        }
        for tag in tags {
            let Some(named) = tag::by_name(connection, &tag.name)? else { return Ok(false) };
            let is_same = (&named.image, &named.manifest, &named.index) == (&tag.image, &tag.manifest, &tag.index);
            if !is_same || !variant::of(connection, &tag.name)?.iter().eq(variant::with_tag(variants, &tag.name)) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What stands against a removal, if anything.
fn obstacle(connection: &Connection, removal: &Removal) -> Result<Option<Removed>> {
    for (place, id) in removal.images.iter().enumerate() {
        if by_id(connection, id)?.is_none() {
            continue;
        }
        let users = super::container::using(connection, id)?;
        if place == 0 && removal.in_use == InUse::Keep && !users.is_empty() {
            return Ok(Some(Removed::Used(users)));
        }
        let is_named = tag::of(connection, id)?.iter().any(|tag| !removal.tags.contains(&tag.name));
        let has_child = children(connection, id)?.iter().any(|child| !removal.images[..place].contains(child));
        if is_named || has_child || (place > 0 && !users.is_empty()) {
            return Ok(Some(Removed::Changed));
        }
    }
    Ok(None)
}

fn children(connection: &Connection, id: &ImageId) -> Result<Vec<ImageId>> {
    let mut query = connection.prepare_cached("SELECT id FROM image WHERE parent = ?1")?;
    row::all(query.query([id.to_string()])?, |found| row::parsed(found, "id"))
}

/// All that an image needs.
pub(crate) fn keys(image: &ImageRecord) -> Vec<Key> {
    let mut keys = Key::of_layers(&image.layers);
    keys.push(Key::Blob(image.id.digest().clone()));
    keys.extend([&image.manifest, &image.index].into_iter().flatten().cloned().map(Key::Blob));
    keys
}

/// All images, the newest first.
pub(crate) fn list(connection: &Connection) -> Result<Vec<ImageRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM image ORDER BY coalesce(created, added) DESC, id")?;
    row::all(query.query([])?, read)
}

/// The image with this id.
pub(crate) fn by_id(connection: &Connection, id: &ImageId) -> Result<Option<ImageRecord>> {
    let mut query = connection.prepare_cached("SELECT * FROM image WHERE id = ?1")?;
    row::first(query.query([id.to_string()])?, read)
}

pub(super) fn read(found: &Row<'_>) -> Result<ImageRecord> {
    Ok(ImageRecord {
        id: row::parsed(found, "id")?,
        manifest: row::maybe_parsed(found, "manifest")?,
        media_type: found.get("media_type")?,
        index: row::maybe_parsed(found, "manifest_index")?,
        size_bytes: row::bytes(found, "size_bytes")?,
        layers: row::json(found, "layers")?,
        parent: row::maybe_parsed(found, "parent")?,
        added: row::time(found, "added")?,
        created: row::maybe_time(found, "created")?,
        last_used: row::maybe_time(found, "last_used")?,
        damaged: found.get("damaged")?,
    })
}

fn insert(transaction: &Transaction<'_>, image: &ImageRecord) -> Result<()> {
    let text = |digest: &Option<Digest>| digest.as_ref().map(ToString::to_string);
    transaction.execute(
        "INSERT INTO image (id, manifest, media_type, manifest_index, size_bytes, layers, parent, added, created, last_used)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET
           media_type = iif(excluded.manifest IS NULL, media_type, excluded.media_type),
           manifest_index = iif(excluded.manifest IS NULL, manifest_index, excluded.manifest_index),
           manifest = coalesce(excluded.manifest, manifest),
           parent = coalesce(parent, excluded.parent), damaged = 0",
        params![
            image.id.to_string(),
            text(&image.manifest),
            image.media_type,
            text(&image.index),
            row::to_size(image.size_bytes),
            row::to_json(&image.layers),
            image.parent.as_ref().map(ToString::to_string),
            row::to_ns(image.added),
            image.created.map(row::to_ns),
            image.last_used.map(row::to_ns),
        ],
    )?;
    Ok(())
}
