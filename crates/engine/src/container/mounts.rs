//! What `-v`, `--mount`, `--tmpfs`, `--volumes-from` and an image's VOLUME mean on this host: decided once, when the
//! container is made.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use strata_sys::durable;
use strata_types::DiffId;

use crate::container::{ContainerError, Document, MountFrom, MountPoint, VolumeRequest};
use crate::{Engine, Result};

/// A mount as a person asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct MountRequest {
    /// Where in the container.
    pub target: String,
    /// It may not be written.
    pub read_only: bool,
    /// The third part of `-v`.
    pub mode: String,
    /// What.
    pub wish: MountWish,
}

/// What a person wants mounted.
#[derive(Clone, Debug, PartialEq)]
pub enum MountWish {
    /// A path of the host.
    Bind {
        /// Which; absolute.
        path: PathBuf,
        /// `rprivate`, `rslave`, ….
        propagation: String,
        /// With the mounts below it.
        recursive: bool,
        /// Read-only means this mount only, not those below it.
        writable_below: bool,
        /// A directory is made where nothing is.
        create: bool,
    },
    /// A volume.
    Volume {
        /// Its name; a new one without.
        name: Option<String>,
        /// It stays empty when it is new.
        empty: bool,
        /// Labels for a new one.
        labels: BTreeMap<String, String>,
        /// The driver; only `local` is known.
        driver: Option<String>,
        /// The driver's options.
        options: BTreeMap<String, String>,
        /// A directory in it.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// At most so large.
        size_bytes: Option<u64>,
        /// The mode of its root.
        mode: Option<u32>,
        /// Further options.
        options: Vec<String>,
    },
    /// An image's files, read-only.
    Image {
        /// Which.
        name: String,
        /// A directory in it.
        subpath: Option<String>,
    },
}

/// Mounts that were decided, and the volumes that were made for them.
pub(super) struct Resolved {
    pub(super) mounts: Vec<MountPoint>,
    pub(super) new_volumes: Vec<String>,
    /// `--volume-driver`: what makes volumes that do not name a driver of their own.
    driver: Option<String>,
}

impl Engine {
    /// Decides all mounts of a new container. Volumes that are missing are made and filled; when something fails, those
    /// made here are removed again.
    pub(super) fn resolve_mounts(
        &self,
        document: &Document,
        requests: Vec<MountRequest>,
        layers: &[DiffId],
        warnings: &mut Vec<String>,
    ) -> Result<Resolved> {
        let driver = Some(document.host.volume_driver.clone()).filter(|driver| !driver.is_empty());
        let mut resolved = Resolved { mounts: Vec::new(), new_volumes: Vec::new(), driver };
        let outcome = self.resolve_into(&mut resolved, document, requests, layers, warnings);
        if outcome.is_err() {
            self.discard_volumes(&resolved.new_volumes);
        }
        outcome.map(|()| resolved)
    }

    fn resolve_into(
        &self,
        resolved: &mut Resolved,
        document: &Document,
        requests: Vec<MountRequest>,
        layers: &[DiffId],
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        for from in document.host.volumes_from.iter().flatten() {
            self.add_volumes_from(resolved, from)?;
        }
        let mut named: Vec<String> = Vec::new();
        for mut request in requests {
            request.target = clean(&request.target);
            if named.contains(&request.target) {
                return Err(ContainerError::invalid(format!("Duplicate mount point: {}", request.target)));
            }
            named.push(request.target.clone());
            resolved.mounts.retain(|present| present.target != request.target);
            let point = self.resolve_one(resolved, request, layers, warnings)?;
            resolved.mounts.push(point);
        }
        for target in &document.config.run.volumes {
            let target = clean(target);
            if resolved.mounts.iter().any(|present| present.target == target) {
                continue;
            }
            let wish = MountWish::anonymous();
            let request = MountRequest { target, read_only: false, mode: String::new(), wish };
            let point = self.resolve_one(resolved, request, layers, warnings)?;
            resolved.mounts.push(point);
        }
        Ok(())
    }

    fn resolve_one(
        &self,
        resolved: &mut Resolved,
        request: MountRequest,
        layers: &[DiffId],
        warnings: &mut Vec<String>,
    ) -> Result<MountPoint> {
        let MountRequest { target, mut read_only, mode, wish } = request;
        let source = match wish {
            MountWish::Bind { path, propagation, recursive, writable_below, create } => {
                bind_source(&path, create)?;
                MountFrom::Bind { path, propagation, recursive, writable_below }
            }
            MountWish::Volume { name, empty, labels, driver, options, subpath } => {
                let anonymous = name.is_none();
                let driver = driver.or_else(|| resolved.driver.clone());
                let request = VolumeRequest { name, labels, driver, options };
                let (name, new) = self.ensure_volume(request, anonymous)?;
                if new {
                    resolved.new_volumes.push(name.clone());
                }
                if !empty {
                    self.fill_volume(&name, layers, Path::new(&target))?;
                }
                MountFrom::Volume { name, anonymous, subpath }
            }
            MountWish::Tmpfs { size_bytes, mode, options } => MountFrom::Tmpfs { size_bytes, mode, options },
            MountWish::Image { name, subpath } => {
                let image = self.image(&name)?;
                super::create::refuse_other_system(&self.config(&image.id)?)?;
                if !std::mem::replace(&mut read_only, true) {
                    tracing::debug!(%name, "an image is mounted read-only");
                }
                if image.layers.is_empty() {
                    warnings.push(format!("image {name} has no files"));
                }
                MountFrom::Image { layers: image.layers, name, subpath }
            }
        };
        Ok(MountPoint { target, read_only, mode, source })
    }

    /// `--volumes-from CONTAINER[:ro|rw]`: what the other container has mounted.
    fn add_volumes_from(&self, resolved: &mut Resolved, text: &str) -> Result<()> {
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        if !["", "ro", "rw", "z", "Z"].contains(&mode) {
            return Err(ContainerError::invalid(format!("invalid mode: {mode}")));
        }
        if name.is_empty() {
            return Err(ContainerError::invalid("volumes-from specification cannot be an empty string"));
        }
        for mut point in self.container(name)?.document.mounts {
            if !matches!(point.source, MountFrom::Bind { .. } | MountFrom::Volume { .. }) {
                continue;
            }
            point.read_only |= mode == "ro";
            // It is the other container's, and goes with that one.
            if let MountFrom::Volume { anonymous, .. } = &mut point.source {
                *anonymous = false;
            }
            resolved.mounts.retain(|present| present.target != point.target);
            resolved.mounts.push(point);
        }
        Ok(())
    }
}

impl MountWish {
    /// A new volume without a name.
    pub fn anonymous() -> Self {
        Self::Volume {
            name: None,
            empty: false,
            labels: BTreeMap::new(),
            driver: None,
            options: BTreeMap::new(),
            subpath: None,
        }
    }
}

fn bind_source(path: &Path, create: bool) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if !create {
        return Err(ContainerError::BindSource(path.to_owned()).into());
    }
    Ok(durable::create_dirs(path, 0o755)?)
}

/// A path without `.`, `..` and doubled slashes, as Go's `path.Clean` makes it.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => _ = parts.pop(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_cleaned() {
        for (path, cleaned) in [("/a//b/./c/", "/a/b/c"), ("/a/../../b", "/b"), ("/", "/")] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn a_missing_bind_source_is_made_only_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let error = bind_source(&path, false).unwrap_err().to_string();
        let expected = "invalid mount config for type \"bind\": bind source path does not exist: ";
        assert_eq!(error, format!("{expected}{}", path.display()));
        bind_source(&path, true).unwrap();
        assert!(path.is_dir());
    }
}
