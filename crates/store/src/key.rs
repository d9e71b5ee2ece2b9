//! What can be protected by a lease and collected as garbage.

use std::fmt;

use strata_types::{ChainId, DiffId, Digest};

use crate::{Error, Result};

/// Names something that takes room on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A blob.
    Blob(Digest),
    /// A layer of a driver that stores differences.
    Layer(DiffId),
    /// A layer on all those below it, of a driver that stores whole trees.
    Chain(ChainId),
}

impl Key {
    /// The keys that layers (lowest first) may have in any driver.
    pub fn of_layers(layers: &[DiffId]) -> Vec<Self> {
        let mut keys: Vec<_> = layers.iter().cloned().map(Self::Layer).collect();
        let mut chain: Option<ChainId> = None;
        for layer in layers {
            let next = match &chain {
                Some(below) => below.with(layer),
                None => ChainId::new(layer.digest().clone()),
            };
            keys.push(Self::Chain(next.clone()));
            chain = Some(next);
        }
        keys
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Blob(_) => "blob",
            Self::Layer(_) => "layer",
            Self::Chain(_) => "chain",
        }
    }

    pub(crate) const fn digest(&self) -> &Digest {
        match self {
            Self::Blob(digest) => digest,
            Self::Layer(id) => id.digest(),
            Self::Chain(id) => id.digest(),
        }
    }

    pub(crate) fn parse(kind: &str, digest: &str) -> Result<Self> {
        let damaged = Error::record("a key");
        let digest: Digest = digest.parse().map_err(|error| damaged(Box::new(error)))?;
        match kind {
            "blob" => Ok(Self::Blob(digest)),
            "layer" => Ok(Self::Layer(DiffId::new(digest))),
            "chain" => Ok(Self::Chain(ChainId::new(digest))),
            other => Err(damaged(format!("unknown kind `{other}`").into())),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.digest())
    }
}
