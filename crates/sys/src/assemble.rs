//! Performing a mount plan: the one place where plans become mounts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use strata_types::mount::{Access, Mount, MountPlan, Upper};

use crate::detached;
use crate::layer_mounts::{Inside, LayerMounts, open_tree};

/// Mounts what a plan says and gives it as a detached mount, to be attached by move_mount(2) or worked in by descriptor. It
/// is gone when the last descriptor and the last place it is attached to are.
pub fn assemble(plan: &MountPlan, layers: &LayerMounts) -> io::Result<OwnedFd> {
    let attributes = match plan.access {
        Access::ReadOnly => MountAttrFlags::MOUNT_ATTR_RDONLY,
        Access::ReadWrite => MountAttrFlags::empty(),
    };
    match &plan.root {
        Mount::Dir(dir) => {
            let mount = open_tree(dir)?;
            detached::set_private(mount.as_fd())?;
            if plan.access == Access::ReadOnly {
                detached::set_read_only(mount.as_fd(), false)?;
            }
            Ok(mount)
        }
        Mount::Image { fs, image, devices } => layers.inside(|inside| {
            // A copy of the shared mount, which stays where it is.
            open_tree(&inside.layer(fs, image, devices)?)
        }),
        Mount::Union { lower, upper, .. } if needs_layers(lower) => layers.inside(|inside| {
            let lower = lower.iter().map(|mount| lower_inside(inside, mount)).collect::<io::Result<Vec<_>>>()?;
            let upper = upper.as_ref().map(|upper| upper_inside(inside, upper)).transpose()?;
            union(&lower, upper.as_ref(), attributes)
        }),
        Mount::Union { lower, upper, .. } => {
            let lower = lower.iter().map(dir).collect::<io::Result<Vec<_>>>()?;
            union(&lower, upper.as_ref(), attributes)
        }
    }
}

fn needs_layers(lower: &[Mount]) -> bool {
    lower.iter().any(|mount| matches!(mount, Mount::Image { .. }))
}

fn lower_inside(inside: &Inside<'_>, mount: &Mount) -> io::Result<PathBuf> {
    match mount {
        Mount::Image { fs, image, devices } => inside.layer(fs, image, devices),
        other => inside.path(&dir(other)?),
    }
}

fn upper_inside(inside: &Inside<'_>, upper: &Upper) -> io::Result<Upper> {
    Ok(Upper { dir: inside.path(&upper.dir)?, work: inside.path(&upper.work)?, volatile: upper.volatile })
}

fn dir(mount: &Mount) -> io::Result<PathBuf> {
    match mount {
        Mount::Dir(path) => Ok(path.clone()),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "a union inside a union")),
    }
}

/// Makes an overlay. Nothing in its upper directory depends on its lowers: no file without its data (`metacopy`), no renamed
/// directory without its content (`redirect_dir`).
fn union(lower: &[PathBuf], upper: Option<&Upper>, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    match (try_union(lower, upper, attributes), upper) {
        // The mark of an earlier volatile mount. The files it warns about are those of a container that nobody keeps.
        (Err(error), Some(upper)) if upper.volatile && error.kind() == io::ErrorKind::InvalidInput => {
            let mark = upper.work.join("work/incompat");
            if crate::durable::remove(&mark).map_err(|error| error.source)? {
                try_union(lower, Some(upper), attributes)
            } else {
                Err(error)
            }
        }
        (tried, _) => tried,
    }
}

fn try_union(lower: &[PathBuf], upper: Option<&Upper>, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    let set = |key: &str, path: &Path| rustix::mount::fsconfig_set_string(context, key, path);
    for dir in lower {
        set("lowerdir+", dir)?;
    }
    if let Some(upper) = upper {
        set("upperdir", &upper.dir)?;
        set("workdir", &upper.work)?;
        if upper.volatile {
            rustix::mount::fsconfig_set_flag(context, "volatile")?;
        }
    }
    for feature in ["metacopy", "redirect_dir", "index"] {
        rustix::mount::fsconfig_set_string(context, feature, "off")?;
    }
    rustix::mount::fsconfig_create(context)?;
    Ok(rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}
