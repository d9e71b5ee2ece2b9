//! Taking images away, by the rules and with the words of Docker's `rmi`.

use std::collections::HashSet;

use strata_store::records::{self, ImageRecord, InUse, Removed, VariantRecord};
use strata_store::{Key, Scope};
use strata_types::reference::Reference;
use strata_types::{ChainId, ImageId, Watch};

use super::find::{as_recorded, is_id_of};
use super::list::References;
use crate::events::{Happening, Kind};
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

/// How often a removal is planned again because somebody changed the image meanwhile. Each time somebody else got on.
const PLANS_MAX: usize = 20;

impl Engine {
    /// Removes a name of an image, and the image with its last name: all in one step, so that a crash leaves either all
    /// of it or nothing.
    ///
    /// # Errors
    /// When there is no such image, or somebody uses it.
    pub fn remove_image(&self, name: &str, wish: RemoveWish, watch: &dyn Watch) -> Result<Vec<Removal>> {
        for _ in 0..PLANS_MAX {
            let plan = self.plan_removal(name, wish)?;
            if let Some(mut done) = self.carry_out(plan)? {
                for removal in &done {
                    match removal {
                        Removal::Untagged(name) => self.record_event(Happening::new(Kind::Image, "untag", name)),
                        Removal::Image(id) => self.record_event(Happening::new(Kind::Image, "delete", id)),
                        Removal::Layer(_) => {}
                    }
                }
                self.collect_removed(&mut done, watch)?;
                return Ok(done);
            }
        }
        Err(ImageError::Busy { name: name.to_owned() }.into())
    }

    /// Removes an image that has no container and no child, with all its names. One that has got some meanwhile stays.
    pub(crate) fn remove_unused(&self, image: ImageRecord, done: &mut Vec<Removal>) -> Result<()> {
        let References { mut tags, digests } = self.references(&image.id)?;
        tags.extend(digests);
        let plan = records::Removal { tags, images: vec![image.id], in_use: InUse::Keep };
        match self.carry_out(plan) {
            Ok(removals) => done.extend(removals.into_iter().flatten()),
            Err(crate::Error::Image(ImageError::InUse { .. })) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Decides what goes with `name`, by Docker's rules (moby, `daemon/images/image_delete.go`).
    fn plan_removal(&self, name: &str, wish: RemoveWish) -> Result<records::Removal> {
        let image = self.image(name)?;
        let references = self.references(&image.id)?;
        let in_use = if wish.force { InUse::Remove } else { InUse::Keep };
        let whole = |tags: Vec<Reference>| -> Result<records::Removal> {
            let mut images = vec![image.id.clone()];
            images.extend(self.lonely_variants(&tags, &image.id)?);
            if wish.prune {
                self.add_parents(&image, &mut images)?;
            }
            Ok(records::Removal { tags, images, in_use })
        };
        if is_id_of(name, &image.id) {
            self.check_conflicts(&image.id, wish.force, is_single(&references))?;
            return whole(references.tags.into_iter().chain(references.digests).collect());
        }
        let (gone, are_left) = self.names_with(name, &image, references, wish.force)?;
        // An image that is needed stays without a name, and nobody is told.
        match self.check_conflicts(&image.id, wish.force, true) {
            Ok(()) if !are_left => whole(gone),
            Ok(()) | Err(crate::Error::Image(ImageError::InUse { .. })) => {
                let images = self.lonely_variants(&gone, &image.id)?;
                Ok(records::Removal { tags: gone, images, in_use })
            }
            Err(error) => Err(error),
        }
    }

    /// The names that go with this one, which are the digests of its repository if it is the last tag there; and whether
    /// others are left.
    fn names_with(
        &self,
        name: &str,
        image: &ImageRecord,
        references: References,
        force: bool,
    ) -> Result<(Vec<Reference>, bool)> {
        let parsed = name.parse::<Reference>();
        let parsed = as_recorded(&parsed.map_err(|source| ImageError::Reference { name: name.to_owned(), source })?);
        if !force
            && is_single(&references)
            && let Some(container) = self.users_of(&image.id)?.first()
        {
            let container = container.short().to_owned();
            return Err(ImageError::LastReference { name: name.to_owned(), container, id: image.id.clone() }.into());
        }
        let is_last_tag = parsed.digest().is_none()
            && !references.tags.iter().any(|tag| *tag != parsed && tag.name() == parsed.name());
        let goes = |other: &Reference| {
            *other == parsed || (is_last_tag && other.digest().is_some() && other.name() == parsed.name())
        };
        let (mut gone, left): (Vec<_>, Vec<_>) =
            references.tags.into_iter().chain(references.digests).partition(|other| goes(other));
        gone.sort_by_key(|other| *other != parsed);
        Ok((gone, !left.is_empty()))
    }

    /// The other images that these tags stand for, as far as nobody else needs them.
    fn lonely_variants(&self, tags: &[Reference], main: &ImageId) -> Result<Vec<ImageId>> {
        let all = self.store().variants().list()?;
        let (going, staying): (Vec<_>, Vec<_>) = all.into_iter().partition(|variant| tags.contains(&variant.tag));
        let mut lonely = Vec::new();
        for VariantRecord { image: id, .. } in going {
            let is_kept = id == *main
                || lonely.contains(&id)
                || staying.iter().any(|other| other.image == id)
                || !self.references(&id)?.is_empty()
                || !self.store().images().children(&id)?.is_empty()
                || !self.users_of(&id)?.is_empty();
            if !is_kept {
                lonely.push(id);
            }
        }
        Ok(lonely)
    }

    /// Adds the nameless images it was committed from, as far as nobody else needs them.
    fn add_parents(&self, image: &ImageRecord, images: &mut Vec<ImageId>) -> Result<()> {
        let mut parent = image.parent.clone();
        while let Some(id) = parent {
            let Some(image) = self.store().images().get(&id)? else { break };
            let is_kept = !self.references(&id)?.is_empty()
                || self.store().images().children(&id)?.iter().any(|child| !images.contains(child))
                || !self.users_of(&id)?.is_empty();
            if is_kept {
                break;
            }
            images.push(id);
            parent = image.parent;
        }
        Ok(())
    }

    /// Does what was planned, all at once; `None` if the plan does not fit any more.
    fn carry_out(&self, plan: records::Removal) -> Result<Option<Vec<Removal>>> {
        match self.store().images().remove(&plan)? {
            Removed::Done(tags, images) => {
                let names = tags.into_iter().map(|tag| Removal::Untagged(tag.name.familiar()));
                let whole = |image: ImageRecord| {
                    let layers = chains(&image.layers).into_iter().rev().map(Removal::Layer);
                    [Removal::Image(image.id)].into_iter().chain(layers)
                };
                Ok(Some(names.chain(images.into_iter().flat_map(whole)).collect()))
            }
            Removed::Changed => Ok(None),
            Removed::Used(users) => {
                let (id, user) = (plan.images[0].clone(), users[0].short());
                let why = format!("image is being used by stopped container {user}");
                Err(ImageError::InUse { id, hard: false, why }.into())
            }
        }
    }

    /// Refuses to remove an image that is needed. `names_go` says that its names are about to be removed, too.
    fn check_conflicts(&self, id: &ImageId, force: bool, names_go: bool) -> Result<()> {
        let conflict = |hard, why: String| Err(ImageError::InUse { id: id.clone(), hard, why }.into());
        if !self.store().images().children(id)?.is_empty() {
            return conflict(true, "image has dependent child images".to_owned());
        }
        let users = self.users_of(id)?;
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
