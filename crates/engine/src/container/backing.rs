//! What a volume's files are on: a directory of the store, or what its options say, as Docker's driver `local` has them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use strata_runtime::spec::{MountSource, Propagation};

use crate::container::ContainerError;
use crate::{Engine, Result};

/// What a volume's files are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    /// A directory of the store.
    Own,
    /// A directory of the host.
    Bind { path: PathBuf, recursive: bool, read_only: bool },
    /// Memory; each container has its own.
    Memory { options: Vec<String>, read_only: bool },
}

impl Backing {
    /// Reads `type`, `device` and `o`; refusals in Docker's words.
    pub(super) fn of(options: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(other) = options.keys().find(|key| !["type", "device", "o"].contains(&key.as_str())) {
            return Err(ContainerError::invalid(format!("invalid option: {other:?}")));
        }
        for (given, needed) in [("device", "type"), ("type", "device"), ("o", "device"), ("o", "type")] {
            if options.contains_key(given) && !options.contains_key(needed) {
                return Err(ContainerError::invalid(format!("missing required option: {needed:?}")));
            }
        }
        let Some(kind) = options.get("type") else { return Ok(Self::Own) };
        let words = options.get("o").map(String::as_str).unwrap_or_default().split(',').filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        let read_only = words.contains(&"ro");
        let recursive = words.contains(&"rbind");
        match kind.as_str() {
            "tmpfs" => {
                let more = words.iter().filter(|word| !["ro", "rw"].contains(word));
                Ok(Self::Memory { options: more.map(|word| (*word).to_owned()).collect(), read_only })
            }
            _ if recursive || words.contains(&"bind") => {
                let path = PathBuf::from(&options["device"]);
                if !path.is_absolute() {
                    return Err(ContainerError::invalid(format!("device {} is not an absolute path", path.display())));
                }
                Ok(Self::Bind { path, recursive, read_only })
            }
            other => {
                let sentence =
                    format!("volumes of type {other} are not part of this version: mount it, and use o=bind");
                Err(ContainerError::Unsupported(sentence).into())
            }
        }
    }
}

impl Engine {
    /// How a volume is mounted, and whether it may not be written.
    pub(super) fn volume_source(&self, name: &str, subpath: Option<&str>) -> Result<(MountSource, bool)> {
        let bind = |path, recursive| MountSource::Bind {
            path,
            recursive,
            propagation: Propagation::Private,
            writable_below: false,
        };
        Ok(match self.volume_backing(name)? {
            Backing::Own => (bind(self.volume_dir(name, subpath)?, true), false),
            Backing::Bind { recursive, read_only, .. } => (bind(self.volume_dir(name, subpath)?, recursive), read_only),
            Backing::Memory { options, read_only } => {
                let size = options.iter().find_map(|option| option.strip_prefix("size="));
                let mode = options.iter().find_map(|option| option.strip_prefix("mode="));
                let size_bytes = size.map(bytes).transpose()?;
                let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok());
                let rest = |option: &&String| !option.starts_with("size=") && !option.starts_with("mode=");
                let options = options.iter().filter(rest).cloned().collect();
                (MountSource::Tmpfs { size_bytes, mode, options }, read_only)
            }
        })
    }

    /// What a volume's files are on.
    pub(super) fn volume_backing(&self, name: &str) -> Result<Backing> {
        let record = self.store().volumes().get(name)?;
        record.map_or(Ok(Backing::Own), |record| Backing::of(&record.options))
    }
}

/// A size as tmpfs(5) reads it.
fn bytes(text: &str) -> Result<u64> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| ContainerError::invalid(format!("invalid size: '{text}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> std::result::Result<Backing, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Backing::of(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_say_what_a_volume_is_on() {
        assert_eq!(of(&[]), Ok(Backing::Own));
        let bind = Backing::Bind { path: "/srv".into(), recursive: false, read_only: true };
        assert_eq!(of(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")]), Ok(bind));
        let memory = Backing::Memory { options: vec!["size=1m".into()], read_only: false };
        assert_eq!(of(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]), Ok(memory));
        assert_eq!(of(&[("nope", "1")]).unwrap_err(), "invalid option: \"nope\"");
        assert_eq!(of(&[("type", "none")]).unwrap_err(), "missing required option: \"device\"");
        assert_eq!(of(&[("o", "bind")]).unwrap_err(), "missing required option: \"device\"");
        let nfs = of(&[("type", "nfs"), ("device", ":/x"), ("o", "addr=1.2.3.4")]).unwrap_err();
        assert!(nfs.starts_with("volumes of type nfs are not part of this version"), "{nfs}");
    }
}
