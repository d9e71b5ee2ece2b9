//! Several layers laid out as one index, beside overlayfs's union of them.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::mount::MountAttrFlags;
use strata_layer::erofs::{Part, merge};
use strata_layer::whiteout::Namespace;
use strata_sys::detached;

use crate::layer::{self, Layer};

/// Layers (the lowest first), merged, are a sound image, and show what the union of them shows.
pub(crate) fn check(layers: &[Layer]) {
    let parts: Vec<_> = layers.iter().map(Layer::part).collect();
    let merged = merge(&parts, Namespace::Trusted).unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let index = dir.path().join("index.erofs");
    merged.write_to(&mut File::create(&index).unwrap()).unwrap();
    let tars: Vec<PathBuf> = layers.iter().map(Layer::tar).collect();
    layer::fsck(&index, &tars);
    let one = union(&[layer::mount(&index, &tars)]);
    // On a root, overlayfs does not look for the mark that hides all below.
    let hides = |part: &Part| part.index.root_is_opaque(Namespace::Trusted).unwrap();
    let lowest = parts.iter().rposition(hides).unwrap_or(0);
    let many = union(&layers[lowest..].iter().map(Layer::mount).collect::<Vec<_>>());
    layer::assert_same(&layer::listing(one), &layer::listing(many), "merged beside stacked");
}

/// The union of some mounts, the lowest first, on top of an empty directory.
fn union(mounts: &[OwnedFd]) -> OwnedFd {
    let place = tempfile::tempdir_in("/run").unwrap().keep();
    let mut options = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let at = place.join(number.to_string());
        std::fs::create_dir(&at).unwrap();
        detached::attach(mount.as_fd(), File::open(&at).unwrap().as_fd()).unwrap();
        options.insert(0, format!("lowerdir+={}", at.display()));
    }
    let empty = place.join("empty");
    std::fs::create_dir(&empty).unwrap();
    options.push(format!("lowerdir+={}", empty.display()));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let union = detached::filesystem("overlay", &options, MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap();
    // The union holds on to what it is made of; only the names go.
    for number in 0..mounts.len() {
        rustix::mount::unmount(place.join(number.to_string()), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    union
}
