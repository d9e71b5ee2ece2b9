//! Where lists are kept until they are pushed, which is where Docker keeps them.
//!
//! ```text
//! ~/.docker/manifests/<list>/<manifest>     names with `-` for `:` and `_` for `/`
//! ```

use std::io;
use std::path::PathBuf;

use strata_sys::durable::{self, Durability, FileError};
use strata_types::{ListedManifest, Reference};

use super::ManifestListError;
use crate::{Engine, Result};

/// One list.
pub(super) struct KeptList {
    dir: PathBuf,
}

impl Engine {
    /// The place of a list, whether there is one or not.
    pub(super) fn kept_list(&self, list: &Reference) -> Result<KeptList> {
        let config = self.settings().docker_config.as_ref().and_then(|file| file.parent());
        let manifests = config.ok_or(ManifestListError::NoPlace)?.join("manifests");
        Ok(KeptList { dir: manifests.join(file_name(list)) })
    }
}

impl KeptList {
    /// Its manifests, in the order of their names; none if there is no such list.
    pub(super) fn list(&self) -> Result<Vec<ListedManifest>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FileError::at("list", &self.dir)(error).into()),
        };
        let mut files = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<PathBuf>>>()
            .map_err(FileError::at("list", &self.dir))?;
        // What a killed writer left.
        files.retain(|file| !file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
        files.sort();
        files.into_iter().filter_map(|file| read(&file).transpose()).collect()
    }

    /// One of its manifests.
    pub(super) fn find(&self, manifest: &Reference) -> Result<Option<ListedManifest>> {
        read(&self.dir.join(file_name(manifest)))
    }

    /// Keeps a manifest, in place of an earlier one of its name.
    pub(super) fn put(&self, entry: &ListedManifest) -> Result<()> {
        durable::create_dirs(&self.dir, 0o755)?;
        let bytes = serde_json::to_vec(entry).expect("strings and numbers always print");
        let path = self.dir.join(file_name(&entry.reference));
        Ok(durable::write_file(&path, &bytes, 0o644, Durability::Durable)?)
    }

    /// Removes it; says whether it was there.
    pub(super) fn remove(&self) -> Result<bool> {
        Ok(durable::remove(&self.dir)?)
    }
}

fn read(file: &std::path::Path) -> Result<Option<ListedManifest>> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::at("read", file)(error).into()),
    };
    let parsed = serde_json::from_slice(&bytes);
    Ok(Some(parsed.map_err(|source| ManifestListError::Kept { file: file.display().to_string(), source })?))
}

/// As Docker makes a name of a reference. None has a slash or begins with a dot.
fn file_name(reference: &Reference) -> String {
    reference.to_string().replace(':', "-").replace('/', "_")
}
