//! The layers' files as the store's collector and checker see them.

use std::path::Path;

use strata_store::{BoxError, Depth, Key, LayerFiles};
use strata_types::{ChainId, DiffId, Digest, ErrorClass, Hasher, Watch, sentence};

use crate::driver::{Driver, WindowsFilter};
use crate::snapshots::usage;
use crate::{Model, Result, Snapshots};

impl LayerFiles for Snapshots {
    fn list(&self) -> Result<Vec<Key>, BoxError> {
        let of_windows = self.windows_layers()?.into_iter().map(|digest| Key::Layer(DiffId::new(digest)));
        Ok(self.sealed()?.into_iter().map(|digest| self.key(digest)).chain(of_windows).collect())
    }

    fn needed(&self, layers: &[DiffId]) -> Vec<Key> {
        match self.model() {
            Model::Diff => layers.iter().cloned().map(Key::Layer).collect(),
            Model::Tree => (1..=layers.len()).filter_map(|length| self.needed_of_tree(&layers[..length])).collect(),
        }
    }

    fn remove(&self, key: &Key) -> Result<bool, BoxError> {
        let of_windows = match key {
            Key::Layer(id) => self.remove_windows_layer(id)?,
            _ => false,
        };
        match self.digest_of(key) {
            Some(digest) => Ok(self.remove_sealed(digest)? || of_windows),
            None => Ok(of_windows),
        }
    }

    fn verify(&self, key: &Key, depth: Depth, watch: &dyn Watch) -> Result<Option<String>, BoxError> {
        if let Key::Layer(id) = key
            && self.has_windows_layer(id)
        {
            let found = self.verify_at(&WindowsFilter, &self.windows_dir(id), key, depth, watch)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        match self.digest_of(key).map(|digest| self.layer_dir(digest)).filter(|dir| dir.is_dir()) {
            Some(dir) => self.verify_at(self.driver(), &dir, key, depth, watch),
            None => Ok(None),
        }
    }
}

impl Snapshots {
    fn key(&self, digest: Digest) -> Key {
        match self.model() {
            Model::Diff => Key::Layer(DiffId::new(digest)),
            Model::Tree => Key::Chain(ChainId::new(digest)),
        }
    }

    /// The key of the uppermost layer of a chain with a driver that keeps trees. Which kind of image is asked for is not
    /// known: what is here only for Windows images is taken to be theirs.
    fn needed_of_tree(&self, chain: &[DiffId]) -> Option<Key> {
        match chain.last().filter(|layer| !self.has_layer(chain) && self.has_windows_layer(layer)) {
            Some(layer) => Some(Key::Layer(layer.clone())),
            None => ChainId::of(chain).map(Key::Chain),
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
        let mut used = crate::Usage::default();
        if let Some(dir) = self.digest_of(key).map(|digest| self.layer_dir(digest)).filter(|dir| dir.is_dir()) {
            used = used + self.usage_at(&dir)?;
        }
        if let Key::Layer(id) = key
            && self.has_windows_layer(id)
        {
            used = used + usage(&self.windows_dir(id))?;
        }
        Ok(used)
    }

    fn verify_at(
        &self,
        driver: &dyn Driver,
        layer: &Path,
        key: &Key,
        depth: Depth,
        watch: &dyn Watch,
    ) -> Result<Option<String>, BoxError> {
        if depth == Depth::Structure {
            return match driver.look(layer) {
                Ok(found) => Ok(found),
                Err(error) => Ok(Some(sentence(&error))),
            };
        }
        let verified = match key {
            Key::Layer(id) => read_whole(driver, layer, Some(id), watch),
            // A chain id does not say the digest of its uppermost layer; the recipe does, and its player compares.
            _ => read_whole(driver, layer, None, watch),
        };
        let verified = match verified {
            Ok(()) => driver.verify(layer, &self.derived_dir(), watch).and_then(|found| match found {
                // What a look finds, a check finds, too.
                None => driver.look(layer),
                found => Ok(found),
            }),
            Err(error) => Err(error),
        };
        match verified {
            Ok(found) => Ok(found),
            Err(error) if error.class() == ErrorClass::Cancelled => Err(error.into()),
            // What cannot be read is damaged: on some filesystems, that is how damage shows.
            Err(error) => Ok(Some(sentence(&error))),
        }
    }
}

/// Reads a layer's tar and compares its digest.
fn read_whole(driver: &dyn Driver, layer: &Path, expected: Option<&DiffId>, watch: &dyn Watch) -> Result<()> {
    use std::io::Read as _;
    let mut tar = driver.tar(layer)?;
    let mut hasher = expected.map_or_else(Hasher::sha256, |id| Hasher::new(id.digest().algorithm()));
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
