//! The layers' files as the store's collector and checker see them.

use strata_store::{BoxError, Depth, Key, LayerFiles};
use strata_types::{DiffId, Digest, ErrorClass, Hasher, Watch};

use crate::{Model, Result, Snapshots};

impl LayerFiles for Snapshots {
    fn list(&self) -> Result<Vec<Key>, BoxError> {
        Ok(self.sealed()?.into_iter().map(|digest| self.key(digest)).collect())
    }

    fn needed(&self, layers: &[DiffId]) -> Vec<Key> {
        let keys = Key::of_layers(layers);
        let of_this_driver = |key: &Key| match self.model() {
            Model::Diff => matches!(key, Key::Layer(_)),
            Model::Tree => matches!(key, Key::Chain(_)),
        };
        keys.into_iter().filter(of_this_driver).collect()
    }

    fn remove(&self, key: &Key) -> Result<bool, BoxError> {
        match self.digest_of(key) {
            Some(digest) => Ok(self.remove_sealed(digest)?),
            None => Ok(false),
        }
    }

    fn verify(&self, key: &Key, depth: Depth, watch: &dyn Watch) -> Result<Option<String>, BoxError> {
        let Some(digest) = self.digest_of(key) else { return Ok(None) };
        if depth == Depth::Structure {
            return match self.driver().look(&self.layer_dir(digest)) {
                Ok(found) => Ok(found),
                Err(error) => Ok(Some(sentence(&error))),
            };
        }
        let verified = match key {
            Key::Layer(id) => self.read_whole(digest, Some(id), watch),
            // A chain id does not say the digest of its uppermost layer; the recipe does, and its player compares.
            _ => self.read_whole(digest, None, watch),
        };
        match verified {
            Ok(()) => Ok(self.driver().verify(&self.layer_dir(digest), &self.derived_dir(), watch)?),
            Err(error) if error.class() == ErrorClass::Cancelled => Err(error.into()),
            Err(error) => Ok(Some(sentence(&error))),
        }
    }
}

impl Snapshots {
    fn key(&self, digest: Digest) -> Key {
        match self.model() {
            Model::Diff => Key::Layer(DiffId::new(digest)),
            Model::Tree => Key::Chain(strata_types::ChainId::new(digest)),
        }
    }

    fn digest_of<'k>(&self, key: &'k Key) -> Option<&'k Digest> {
        match (key, self.model()) {
            (Key::Layer(id), Model::Diff) => Some(id.digest()),
            (Key::Chain(id), Model::Tree) => Some(id.digest()),
            _ => None,
        }
    }

    /// What a layer's files take on the disk; nothing if they are not there.
    pub fn usage_of(&self, key: &Key) -> Result<crate::Usage> {
        let dir = self.digest_of(key).map(|digest| self.layer_dir(digest)).filter(|dir| dir.is_dir());
        dir.map_or(Ok(crate::Usage::default()), |dir| self.usage_at(&dir))
    }

    /// Reads a layer's tar and compares its digest.
    fn read_whole(&self, digest: &Digest, expected: Option<&DiffId>, watch: &dyn Watch) -> Result<()> {
        use std::io::Read as _;
        let layer = self.layer_dir(digest);
        let mut tar = self.driver().tar(&layer)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = tar.read(&mut buffer).map_err(strata_layer::Error::io("read the layer"))?;
            if read == 0 {
                break;
            }
            if watch.cancelled() {
                return Err(strata_layer::Error::Cancelled.into());
            }
            hasher.update(&buffer[..read]);
        }
        let actual = DiffId::new(hasher.finish());
        match expected {
            Some(expected) if *expected != actual => Err(crate::Error::DiffId { expected: expected.clone(), actual }),
            _ => Ok(()),
        }
    }
}

/// An error with its causes in one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
