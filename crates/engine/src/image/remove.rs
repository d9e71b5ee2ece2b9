//! Taking images away, by the rules and with the words of Docker's `rmi`.

use std::collections::HashSet;

use strata_store::records::{ImageRecord, InUse, RemovedImage};
use strata_store::{Key, Scope};
use strata_types::reference::Reference;
use strata_types::{ChainId, ImageId, Watch};

use super::find::{as_recorded, is_id_of};
use super::list::References;
use crate::image::ImageError;
use crate::{Engine, Result};

/// How to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveWish {
    /// Also if stopped containers use it or it has several names.
    pub force: bool,
    /// Also parents without a name that nobody needs any more.
    pub prune: bool,
}

/// One thing a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A reference is gone; in its familiar form.
    Untagged(String),
    /// An image is gone.
    Image(ImageId),
    /// A layer is gone.
    Layer(ChainId),
}

impl Engine {
    /// Removes a name of an image, and the image with its last name.
    ///
    /// # Errors
    /// When there is no such image, or somebody uses it.
    pub fn remove_image(&self, name: &str, wish: RemoveWish, watch: &dyn Watch) -> Result<Vec<Removal>> {
        let image = self.image(name)?;
        let mut done = Vec::new();
        let references = self.references(&image.id)?;
        if is_id_of(name, &image.id) {
            if is_single(&references) {
                self.check_conflicts(&image.id, wish.force, true)?;
                self.untag(references.tags.iter().chain(&references.digests), &mut done)?;
            }
        } else if !self.remove_name(name, &image, &references, wish, &mut done)? {
            return Ok(done);
        }
        let outcome = self.remove_whole(image, wish.force, &mut done);
        let parent = outcome?;
        if wish.prune {
            self.remove_parents(parent, &mut done)?;
        }
        self.collect_removed(&mut done, watch)?;
        Ok(done)
    }

    /// Removes one reference and, with the last tag of its repository, the digests there. False if names are left.
    fn remove_name(
        &self,
        name: &str,
        image: &ImageRecord,
        references: &References,
        wish: RemoveWish,
        done: &mut Vec<Removal>,
    ) -> Result<bool> {
        let parsed = name.parse::<Reference>();
        let parsed = as_recorded(&parsed.map_err(|source| ImageError::Reference { name: name.to_owned(), source })?);
        if !wish.force
            && is_single(references)
            && let Some(container) = self.store().containers().using(&image.id)?.first()
        {
            let container = container.short().to_owned();
            return Err(ImageError::LastReference { name: name.to_owned(), container, id: image.id.clone() }.into());
        }
        self.untag([&parsed], done)?;
        let mut left = self.references(&image.id)?;
        if parsed.digest().is_none() && !left.tags.iter().any(|tag| tag.name() == parsed.name()) {
            let (same, other) = left.digests.into_iter().partition(|digest| digest.name() == parsed.name());
            let same: Vec<Reference> = same;
            self.untag(&same, done)?;
            left.digests = other;
        }
        Ok(left.is_empty())
    }

    fn untag<'a>(&self, names: impl IntoIterator<Item = &'a Reference>, done: &mut Vec<Removal>) -> Result<()> {
        for name in names {
            if self.store().tags().remove(name)?.is_some() {
                done.push(Removal::Untagged(name.familiar()));
            }
        }
        Ok(())
    }

    /// Removes an image that nothing keeps; says which image it was committed from.
    pub(crate) fn remove_whole(
        &self,
        image: ImageRecord,
        force: bool,
        done: &mut Vec<Removal>,
    ) -> Result<Option<ImageRecord>> {
        self.check_conflicts(&image.id, force, false)?;
        let references = self.references(&image.id)?;
        self.untag(references.tags.iter().chain(&references.digests), done)?;
        let in_use = if force { InUse::Remove } else { InUse::Keep };
        match self.store().images().remove(&image.id, in_use)? {
            RemovedImage::Removed(_) => {
                done.push(Removal::Image(image.id));
                done.extend(chains(&image.layers).into_iter().rev().map(Removal::Layer));
            }
            RemovedImage::NotThere => {}
            RemovedImage::Used(users) => {
                let user = users.first().map(|id| id.short().to_owned()).unwrap_or_default();
                let why = format!("image is being used by stopped container {user}");
                return Err(ImageError::InUse { id: image.id, hard: false, why }.into());
            }
        }
        let parent = image.parent.map(|parent| self.store().images().get(&parent)).transpose()?;
        Ok(parent.flatten())
    }

    /// Removes the nameless images it was committed from, as far as nobody needs them.
    fn remove_parents(&self, mut parent: Option<ImageRecord>, done: &mut Vec<Removal>) -> Result<()> {
        while let Some(image) = parent {
            let is_kept = !self.references(&image.id)?.is_empty()
                || !self.store().images().children(&image.id)?.is_empty()
                || !self.store().containers().using(&image.id)?.is_empty();
            if is_kept {
                break;
            }
            parent = self.remove_whole(image, false, done)?;
        }
        Ok(())
    }

    /// Refuses to remove an image that is needed. `names_go` says that its names are about to be removed, too.
    fn check_conflicts(&self, id: &ImageId, force: bool, names_go: bool) -> Result<()> {
        let conflict = |hard, why: String| Err(ImageError::InUse { id: id.clone(), hard, why }.into());
        if !self.store().images().children(id)?.is_empty() {
            return conflict(true, "image has dependent child images".to_owned());
        }
        let users = self.store().containers().using(id)?;
        for user in &users {
            if self.is_running(user)? {
                return conflict(true, format!("image is being used by running container {}", user.short()));
            }
        }
        if force {
            return Ok(());
        }
        if !names_go && !self.references(id)?.is_empty() {
            return conflict(false, "image is referenced in multiple repositories".to_owned());
        }
        match users.first() {
            Some(user) => conflict(false, format!("image is being used by stopped container {}", user.short())),
            None => Ok(()),
        }
    }

    /// Frees what the removals left, and strikes the layers that somebody else still needs from the list.
    pub(crate) fn collect_removed(&self, done: &mut Vec<Removal>, watch: &dyn Watch) -> Result<u64> {
        let layers_before = self.layer_sizes()?;
        let collected = self.collect(Scope::Removed, watch)?;
        let mut gone: HashSet<ChainId> = collected.removed.iter().filter_map(chain_of).collect();
        // A layer that several images had went with the last of them.
        let mut kept: Vec<Removal> = done.drain(..).rev().collect();
        kept.retain(|removal| !matches!(removal, Removal::Layer(chain) if !gone.remove(chain)));
        done.extend(kept.into_iter().rev());
        let sizes = collected.removed.iter().filter_map(|key| match key {
            Key::Layer(diff_id) => layers_before.get(diff_id),
            _ => None,
        });
        Ok(sizes.sum::<u64>() + collected.freed_bytes)
    }
}

fn chain_of(key: &Key) -> Option<ChainId> {
    match key {
        Key::Chain(chain) => Some(chain.clone()),
        Key::Blob(_) | Key::Layer(_) => None,
    }
}

/// The chain ids of layers, lowest first.
fn chains(layers: &[strata_types::DiffId]) -> Vec<ChainId> {
    (1..=layers.len()).filter_map(|count| ChainId::of(&layers[..count])).collect()
}

/// Whether an image has at most one tag, and digests only beside it: then removing by id removes the names, too.
fn is_single(references: &References) -> bool {
    let References { tags, digests } = references;
    match (tags.as_slice(), digests.as_slice()) {
        ([], []) | ([_], []) | ([], [_]) => true,
        ([_, _, ..], _) => false,
        ([tag], digests) => digests.iter().all(|digest| digest.name() == tag.name()),
        ([], [first, rest @ ..]) => rest.iter().all(|digest| digest.name() == first.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_with_its_digests_is_one_reference() {
        let digest = strata_types::Digest::sha256(b"");
        let check = |tags: &[&str], digests: &[&str], expected: bool| {
            let parse = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Reference>>();
            let digests = parse(digests).iter().map(|name| name.with_digest(digest.clone())).collect();
            let references = References { tags: parse(tags), digests };
            assert_eq!(is_single(&references), expected, "{references:?}");
        };
        check(&[], &[], true);
        check(&["a:1"], &["a"], true);
        check(&["a:1"], &["b"], false);
        check(&["a:1", "a:2"], &[], false);
        check(&[], &["a", "a"], true);
        check(&[], &["a", "b"], false);
    }
}
