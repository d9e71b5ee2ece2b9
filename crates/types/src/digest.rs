//! Content digests: `sha256:<hex>` and `sha512:<hex>` (OCI image-spec, descriptor.md#digests).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hex;

/// A digest algorithm that may name content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what everybody uses.
    Sha256,
    /// SHA-512, allowed by the specification.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of some bytes, always well-formed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// Why a string is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon, or something before or after it is missing.
    #[error("invalid digest `{0}`: expected ALGORITHM:HEX")]
    Format(String),
    /// The algorithm is not one we verify.
    #[error("unsupported digest algorithm `{0}`")]
    Algorithm(String),
    /// The hex part has the wrong length or characters other than `0-9a-f`.
    #[error("invalid digest `{0}`: the hex part must be {1} lower-case hex digits")]
    Hex(String, usize),
}

impl Digest {
    /// Computes the SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Which algorithm made it.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex part, lower case.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve hex digits, as Docker shows ids.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .filter(|(name, hex)| !name.is_empty() && !hex.is_empty())
            .ok_or_else(|| DigestError::Format(text.to_owned()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(DigestError::Algorithm(other.to_owned())),
        };
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(lower_hex) {
            return Err(DigestError::Hex(text.to_owned(), algorithm.hex_len()));
        }
        Ok(Self { algorithm, hex: hex.into() })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest piece by piece.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: aws_lc_rs::digest::Context,
}

impl Hasher {
    /// Starts an empty computation.
    pub fn new(algorithm: Algorithm) -> Self {
        let implementation = match algorithm {
            Algorithm::Sha256 => &aws_lc_rs::digest::SHA256,
            Algorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        Self { algorithm, context: aws_lc_rs::digest::Context::new(implementation) }
    }

    /// Starts a SHA-256 computation.
    pub fn sha256() -> Self {
        Self::new(Algorithm::Sha256)
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Ends the computation.
    pub fn finish(self) -> Digest {
        let hex = hex::encode(self.context.finish().as_ref());
        Digest { algorithm: self.algorithm, hex: hex.into() }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
    }

    #[test]
    fn what_is_printed_parses_to_the_same() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert_eq!(digest.short(), "e3b0c44298fc");
    }

    #[test]
    fn malformed_digests_are_refused() {
        for bad in ["", "sha256", "sha256:", ":00", "sha256:zz", "sha256:E3B0", "md5:00", "sha256:../../etc/passwd"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad} parsed");
        }
    }
}
