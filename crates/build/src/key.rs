//! What a step reads, as a digest.

use strata_types::{DiffId, Hasher};

/// Raised when a step with the same key would come to something else than before.
const VERSION: &str = "strata build 2";

/// A key in the making: parts, each with its name and length, so that no two lists of parts give the same bytes.
pub(crate) struct Key(Hasher);

impl Key {
    /// Begins the key of a kind of step.
    pub(crate) fn of(kind: &str) -> Self {
        let mut key = Self(Hasher::sha256());
        key.part(VERSION, kind);
        key
    }

    /// Adds a part.
    pub(crate) fn part(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.0.update(&(name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update(&(value.len() as u64).to_le_bytes());
        self.0.update(value);
    }

    /// Adds a list.
    pub(crate) fn parts<T: AsRef<[u8]>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.part(name, value);
        }
        self.part("end", name);
    }

    /// Adds the layers below.
    pub(crate) fn layers(&mut self, layers: &[DiffId]) {
        self.parts("layer", layers.iter().map(ToString::to_string));
    }

    /// The key.
    pub(crate) fn finish(self) -> String {
        self.0.finish().hex().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| {
            let mut key = Key::of("x");
            key.parts("word", parts);
            key.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
        assert_eq!(of(&["a"]), of(&["a"]));
    }
}
