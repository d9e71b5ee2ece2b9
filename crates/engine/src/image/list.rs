//! The images that are here.

mod pattern;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use strata_store::records::{ImageRecord, TagRecord};
use strata_types::reference::Reference;
use strata_types::{ImageId, config::ImageConfig};

use crate::{Engine, Result};

pub use pattern::matches as reference_matches;

/// Which images to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Also those that only serve as parents of others.
    pub all: bool,
    /// Only those without (or with) a tag.
    pub dangling: Option<bool>,
    /// `NAME` or `NAME=VALUE`; all of them.
    pub labels: Vec<String>,
    /// `NAME` or `NAME=VALUE`; none of them.
    pub labels_not: Vec<String>,
    /// Patterns of references, any of them; only tags that match are listed.
    pub references: Vec<String>,
    /// Made before this image.
    pub before: Option<String>,
    /// Made after this image.
    pub since: Option<String>,
    /// Made before this time.
    pub until: Option<Timestamp>,
}

/// An image in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: ImageId,
    /// The image it was committed from.
    pub parent: Option<ImageId>,
    /// The references that name it.
    pub references: References,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The sum of its layers.
    pub size_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The references that name one image, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// `repository:tag`.
    pub tags: Vec<Reference>,
    /// `repository@digest`.
    pub digests: Vec<Reference>,
}

impl References {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }

    pub(crate) fn of(records: impl IntoIterator<Item = TagRecord>) -> Self {
        let (tags, digests) = records.into_iter().map(|tag| tag.name).partition(|name| name.digest().is_none());
        Self { tags, digests }
    }
}

impl Engine {
    /// Lists images, the newest first.
    ///
    /// # Errors
    /// When an image that a filter names is not here.
    pub fn images(&self, wanted: &Wanted) -> Result<Vec<Summary>> {
        let time_of = |name: &Option<String>| -> Result<Option<Timestamp>> {
            Ok(name.as_deref().map(|name| self.image(name)).transpose()?.map(|image| created(&image)))
        };
        let (before, since) = (time_of(&wanted.before)?, time_of(&wanted.since)?);
        let images = self.store().images().list()?;
        let parents: HashSet<ImageId> = images.iter().filter_map(|image| image.parent.clone()).collect();
        let mut references = self.all_references()?;
        let variants = self.variant_images()?;
        let mut listed = Vec::new();
        for image in images {
            let made = created(&image);
            let outside = before.is_some_and(|before| made >= before)
                || since.is_some_and(|since| made <= since)
                || wanted.until.is_some_and(|until| made >= until);
            let mut references = references.remove(&image.id).unwrap_or_default();
            // It is shown by its tag, with the others that the tag stands for.
            let is_variant = references.is_empty() && variants.contains(&image.id) && !wanted.all;
            if outside || is_variant || !wanted.by_name(&mut references, parents.contains(&image.id)) {
                continue;
            }
            let config = self.config(&image.id);
            // An image that lost its config is still an image that can be removed: it is listed.
            let labels = config.map(|config: ImageConfig| config.fields.config.labels).unwrap_or_default();
            if wanted.by_label(&labels) {
                let ImageRecord { id, parent, size_bytes, created, .. } = image;
                listed.push(Summary { id, parent, references, created, size_bytes, labels });
            }
        }
        Ok(listed)
    }

    /// The images that tags stand for beside others.
    pub(crate) fn variant_images(&self) -> Result<HashSet<ImageId>> {
        Ok(self.store().variants().list()?.into_iter().map(|variant| variant.image).collect())
    }

    /// The references to one image.
    pub(crate) fn references(&self, id: &ImageId) -> Result<References> {
        Ok(References::of(self.store().tags().of(id)?))
    }

    /// The references to every image.
    pub(crate) fn all_references(&self) -> Result<HashMap<ImageId, References>> {
        let mut all: HashMap<ImageId, Vec<TagRecord>> = HashMap::new();
        for tag in self.store().tags().list()? {
            all.entry(tag.image.clone()).or_default().push(tag);
        }
        Ok(all.into_iter().map(|(id, tags)| (id, References::of(tags))).collect())
    }
}

impl Wanted {
    /// Decides by references; drops those that do not match.
    fn by_name(&self, references: &mut References, is_parent: bool) -> bool {
        if !self.references.is_empty() {
            let matches = |name: &Reference| self.references.iter().any(|pattern| pattern::matches(pattern, name));
            references.tags.retain(matches);
            references.digests.retain(matches);
            if references.is_empty() {
                return false;
            }
        }
        if references.is_empty() {
            return (self.all || !is_parent) && self.dangling != Some(false);
        }
        self.dangling != Some(true) || references.tags.is_empty()
    }

    pub(crate) fn by_label(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.labels.iter().all(has) && !self.labels_not.iter().any(has)
    }
}

/// When an image was made; when it came here if nobody says.
pub(crate) fn created(image: &ImageRecord) -> Timestamp {
    image.created.unwrap_or(image.added)
}
