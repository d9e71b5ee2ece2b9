//! Deep stacks: a run of layers laid out as one (docs/decisions/0007).
//!
//! A union costs more the more layers it has, and overlayfs takes 500 at most. So of a deep stack, sixteen layers at a
//! time are shown by one index whose devices are their tars, and 256 at a time where there are so many: a stack of a
//! thousand is mounted from 25 images. Which layers make a run depends on those below them only, so that images that
//! begin alike share their runs, and one more layer makes at most one more run.
//!
//! A run can always be made again. It is made when a stack is first mounted that needs it, and goes with its layers.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use strata_layer::erofs::{Part, merge};
use strata_layer::whiteout::Namespace;
use strata_sys::durable;
use strata_types::Digest;
use strata_types::mount::Mount;

use super::{INDEX, image, lending, reader};
use crate::staging::{self, Staging};
use crate::{Error, Result};

/// Stacks of fewer layers are mounted as they are.
const DEEP: usize = 32;
/// How many layers are in a run, the longest first.
const LENGTHS: [usize; 2] = [256, 16];
/// The names of a run's layers, one on a line, the lowest first.
const LAYERS: &str = "layers";

/// What to mount for the layers in the directories `layers`, the lowest first. Makes the runs that are missing in `home`.
pub(super) fn mounts(layers: &[PathBuf], home: &Path) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    let mut rest = layers;
    if layers.len() >= DEEP {
        for length in LENGTHS {
            while let Some((run, above)) = rest.split_at_checked(length) {
                mounts.push(mount(run, home)?);
                rest = above;
            }
        }
    }
    for layer in rest {
        mounts.push(image(layer)?);
    }
    Ok(mounts)
}

fn mount(layers: &[PathBuf], home: &Path) -> Result<Mount> {
    let names = names(layers);
    let dir = home.join(Digest::sha256(names.as_bytes()).hex());
    if !dir.is_dir() {
        make(layers, &names, home, &dir)?;
    }
    let mut devices = Vec::new();
    for layer in layers {
        devices.extend(lending::tars(layer)?);
    }
    Ok(Mount::Image { fs: "erofs".to_owned(), image: dir.join(INDEX), devices })
}

fn names(layers: &[PathBuf]) -> String {
    let name = |layer: &PathBuf| format!("{}\n", layer.file_name().unwrap_or_default().to_string_lossy());
    layers.iter().map(name).collect()
}

fn make(layers: &[PathBuf], names: &str, home: &Path, dir: &Path) -> Result<()> {
    durable::create_dirs(home, 0o711)?;
    staging::sweep(home)?;
    let new = Staging::new(home)?;
    let put = |name: &str, bytes: &[u8]| {
        let path = new.path().join(name);
        let written = File::create_new(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()
        });
        written.map_err(Error::at("write", &path))
    };
    put(INDEX, &index(layers)?)?;
    put(LAYERS, names.as_bytes())?;
    super::seal(&new.path().join(INDEX))?;
    // Somebody else may have been faster, with the same result.
    new.publish(dir).map(drop)
}

fn index(layers: &[PathBuf]) -> Result<Vec<u8>> {
    let part = |layer: &PathBuf| Ok(Part { index: reader(layer)?, tars: lending::lengths(&lending::tars(layer)?)? });
    let parts = layers.iter().map(part).collect::<Result<Vec<_>>>()?;
    let mut bytes = Vec::new();
    merge(&parts, Namespace::Trusted)?.write_to(&mut bytes)?;
    Ok(bytes)
}

/// The directories of the runs that a layer is in.
pub(super) fn with(layer: &Path, home: &Path) -> Result<Vec<PathBuf>> {
    let wanted = layer.file_name().unwrap_or_default().to_string_lossy();
    // One without the list is another's to remove, who is at it.
    let has_it = |dir: &PathBuf| {
        std::fs::read_to_string(dir.join(LAYERS)).is_ok_and(|names| names.lines().any(|one| one == wanted))
    };
    Ok(all(home)?.into_iter().map(|name| home.join(name)).filter(has_it).collect())
}

/// Removes the runs that a layer is in; says their names.
pub(super) fn remove(layer: &Path, home: &Path) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for dir in with(layer, home)? {
        if staging::discard(&dir, home)? {
            removed.push(dir.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    Ok(removed)
}

/// Removes the runs whose lowest layer is `layer` and which are not what their layers say; says their names.
pub(super) fn verify(layer: &Path, home: &Path) -> Result<Vec<String>> {
    let (layers, lowest) = (layer.parent().unwrap_or(layer), layer.file_name().unwrap_or_default().to_string_lossy());
    let mut damaged = Vec::new();
    for name in all(home)? {
        let dir = home.join(&name);
        let names = std::fs::read_to_string(dir.join(LAYERS)).unwrap_or_default();
        if names.lines().next().is_some_and(|first| first != lowest) {
            continue;
        }
        let parts: Vec<PathBuf> = names.lines().map(|name| layers.join(name)).collect();
        let is_right = Digest::sha256(names.as_bytes()).hex() == name
            && index(&parts).is_ok_and(|expected| std::fs::read(dir.join(INDEX)).is_ok_and(|there| there == expected));
        if !is_right && staging::discard(&dir, home)? {
            damaged.push(name);
        }
    }
    Ok(damaged)
}

fn all(home: &Path) -> Result<Vec<String>> {
    let mut names = crate::snapshots::names(home)?;
    names.retain(|name| !name.starts_with('.'));
    Ok(names)
}
