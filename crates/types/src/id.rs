//! Identifiers that look alike and mean different things, each with a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, DigestError, Hasher};

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// Says what a digest identifies; nothing is checked.
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// The digest itself.
            pub const fn digest(&self) -> &Digest {
                &self.0
            }

            /// The hex part, lower case.
            pub fn hex(&self) -> &str {
                self.0.hex()
            }

            /// The first twelve hex digits, as Docker shows ids.
            pub fn short(&self) -> &str {
                self.0.short()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.parse().map(Self)
            }
        }
    };
}

digest_id! {
    /// The digest of a layer's uncompressed tar (OCI image-spec, config.md#layer-diffid).
    DiffId
}
digest_id! {
    /// The digest of a layer on all those below it (OCI image-spec, config.md#layer-chainid).
    ChainId
}
digest_id! {
    /// The digest of an image's config JSON: what `docker images` calls IMAGE ID.
    ImageId
}

impl ChainId {
    /// Computes the chain id of `layers`, lowest first; none for no layers.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(rest.iter().fold(Self(first.0.clone()), |below, layer| below.with(layer)))
    }

    /// Computes the chain id of one more layer on top of this chain.
    pub fn with(&self, layer: &DiffId) -> Self {
        let (below, above) = (&self.0, &layer.0);
        let mut hasher = Hasher::sha256();
        for part in [below.algorithm().name(), ":", below.hex(), " ", above.algorithm().name(), ":", above.hex()] {
            hasher.update(part.as_bytes());
        }
        Self(hasher.finish())
    }
}

/// Why a string is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid id `{0}`: expected 64 lower-case hex digits")]
pub struct IdError(String);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Makes an id of 32 random bytes, which the caller provides.
            pub fn from_random(bytes: [u8; 32]) -> Self {
                Self($crate::hex::encode(&bytes).into())
            }

            /// All 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve, as Docker shows ids.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if text.len() == 64 && text.bytes().all(lower_hex) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError(text.to_owned()))
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id! {
    /// A container's id: 64 lower-case hex digits, random.
    ContainerId
}
random_id! {
    /// The id of a snapshot of a container's files: 64 lower-case hex digits, random.
    SnapshotId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_follow_the_image_spec() {
        let [a, b] = [&b"a"[..], b"b"].map(|bytes| DiffId::new(Digest::sha256(bytes)));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(std::slice::from_ref(&a)).unwrap().digest(), a.digest());
        let expected = Digest::sha256(format!("{a} {b}").as_bytes());
        assert_eq!(ChainId::of(&[a, b]).unwrap().digest(), &expected);
    }

    #[test]
    fn a_container_id_is_64_hex_digits() {
        let id = ContainerId::from_random([0xab; 32]);
        assert_eq!(id.short(), "abababababab");
        assert_eq!(id.as_str().parse::<ContainerId>().unwrap(), id);
        assert!("../../x".parse::<ContainerId>().is_err());
    }
}
