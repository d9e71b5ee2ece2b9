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
    /// A filesystem of the machine's: a disk, or another machine's by NFS.
    Filesystem { kind: String, device: String, options: Vec<String> },
}

/// Words of mount(8) that say what is so already, or concern how mounts see each other.
const USUAL: [&str; 9] = ["rw", "suid", "dev", "exec", "atime", "diratime", "relatime", "defaults", "async"];

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
        let (Some(kind), Some(device)) = (options.get("type"), options.get("device")) else { return Ok(Self::Own) };
        let words = options.get("o").map(String::as_str).unwrap_or_default().split(',').filter(|word| !word.is_empty());
        let words: Vec<String> = words.filter(|word| !USUAL.contains(word)).map(str::to_owned).collect();
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let (read_only, recursive) = (has("ro"), has("rbind"));
        if kind == "tmpfs" {
            let options = words.into_iter().filter(|word| word != "ro").collect();
            return Ok(Self::Memory { options, read_only });
        }
        if recursive || has("bind") {
            let path = PathBuf::from(device);
            if !path.is_absolute() {
                return Err(ContainerError::invalid(format!("device {} is not an absolute path", path.display())));
            }
            return Ok(Self::Bind { path, recursive, read_only });
        }
        Ok(Self::Filesystem { kind: kind.clone(), device: device.clone(), options: words })
    }

    /// Whether its files are in a directory that is there without any container.
    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Self::Own | Self::Bind { .. })
    }
}

impl Engine {
    /// How a volume is mounted, and whether it may not be written.
    pub(super) fn volume_source(&self, name: &str, subpath: Option<&str>) -> Result<(MountSource, bool)> {
        let backing = self.volume_backing(name)?;
        if let Some(subpath) = subpath.filter(|_| backing.is_directory()) {
            self.check_subpath(name, subpath)?;
        }
        let subpath = subpath.map(str::to_owned);
        let bind = |path, recursive, subpath| MountSource::Bind {
            path,
            recursive,
            propagation: Propagation::Private,
            writable_below: false,
            subpath,
        };
        Ok(match backing {
            Backing::Own => (bind(self.volume_dir(name)?, true, subpath), false),
            Backing::Bind { path, recursive, read_only } => (bind(path, recursive, subpath), read_only),
            Backing::Memory { options, read_only } => {
                let size = options.iter().find_map(|option| option.strip_prefix("size="));
                let mode = options.iter().find_map(|option| option.strip_prefix("mode="));
                let size_bytes = size.map(bytes).transpose()?;
                let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok());
                let rest = |option: &&String| !option.starts_with("size=") && !option.starts_with("mode=");
                let options = options.iter().filter(rest).cloned().collect();
                (MountSource::Tmpfs { size_bytes, mode, options }, read_only)
            }
            Backing::Filesystem { kind, device, options } => {
                if !strata_sys::user_namespace::is_initial() {
                    let sentence = format!("only root on the machine mounts filesystems of type {kind}: volume {name}");
                    return Err(ContainerError::Unsupported(sentence).into());
                }
                let options = if kind.starts_with("nfs") || kind == "cifs" { resolved(options)? } else { options };
                (MountSource::Filesystem { kind, device, options, subpath }, false)
            }
        })
    }

    /// What a volume's files are on.
    pub(super) fn volume_backing(&self, name: &str) -> Result<Backing> {
        let record = self.store().volumes().get(name)?;
        record.map_or(Ok(Backing::Own), |record| Backing::of(&record.options))
    }
}

/// The options of a filesystem of the network: the kernel knows addresses, not names.
fn resolved(mut options: Vec<String>) -> Result<Vec<String>> {
    for option in &mut options {
        let Some(host) = option.strip_prefix("addr=") else { continue };
        let failed = || ContainerError::step(format!("error resolving passed in network volume address {host}"));
        let found = strata_registry::addresses(host).map_err(failed())?;
        let first = found.first().ok_or_else(|| failed()(std::io::ErrorKind::NotFound.into()))?;
        *option = format!("addr={first}");
    }
    Ok(options)
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
        let nfs = Backing::Filesystem {
            kind: "nfs".into(),
            device: ":/x".into(),
            options: ["addr=localhost", "nfsvers=4", "ro", "soft"].map(str::to_owned).into(),
        };
        assert_eq!(of(&[("type", "nfs"), ("device", ":/x"), ("o", "addr=localhost,rw,nfsvers=4,ro,soft")]), Ok(nfs));
    }

    #[test]
    fn addresses_of_other_machines_are_looked_up() {
        let options = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let same = options(&["addr=fd00::1", "vers=4"]);
        assert_eq!(resolved(same.clone()).unwrap(), same);
        let local = resolved(options(&["vers=4", "addr=localhost"])).unwrap();
        assert!(["addr=127.0.0.1", "addr=::1"].contains(&local[1].as_str()), "{local:?}");
    }
}
