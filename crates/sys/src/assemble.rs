//! Performing a mount plan: the one place where plans become mounts.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use strata_types::mount::{Access, Mount, MountPlan, Union, Upper};

use crate::layer_mounts::{Inside, LayerMounts, on_thread, open_tree};
use crate::thin::Pool;
use crate::user_namespace;
use crate::{detached, fuse, isolate, zfs};

/// Mounts what a plan says and gives it as a detached mount, to be attached by move_mount(2) or worked in by descriptor. It
/// is gone when the last descriptor and the last place it is attached to are.
pub fn assemble(plan: &MountPlan, layers: &LayerMounts) -> io::Result<OwnedFd> {
    let attributes = attributes_for(plan.access);
    let marks = Marks::here();
    match &plan.root {
        Mount::Dir(dir) => {
            let mount = open_tree(dir)?;
            detached::set_private(mount.as_fd())?;
            if plan.access == Access::ReadOnly {
                detached::set_read_only(mount.as_fd(), false)?;
            }
            Ok(mount)
        }
        Mount::Thin { pool, device, sealed } => {
            let mount = Pool::new(pool).mount(device, !sealed)?;
            if plan.access == Access::ReadOnly {
                detached::set_read_only(mount.as_fd(), false)?;
            }
            Ok(mount)
        }
        Mount::Dataset { name, sealed } => {
            let mount = zfs::mount(name, !sealed)?;
            if plan.access == Access::ReadOnly {
                detached::set_read_only(mount.as_fd(), false)?;
            }
            Ok(mount)
        }
        Mount::Image { fs, image, devices } => layers.inside(|inside| {
            // A copy of the shared mount, which stays where it is.
            open_tree(&inside.layer(fs, image, devices)?)
        }),
        Mount::Union { how: Union::Aufs, lower, upper } => {
            let lower = lower.iter().map(dir).collect::<io::Result<Vec<_>>>()?;
            crate::aufs::mount(&lower, upper.as_ref(), plan.access)
        }
        Mount::Union { how: Union::Fuse, lower, upper } => {
            let lower = lower.iter().map(dir).collect::<io::Result<Vec<_>>>()?;
            let (upper, marks_of_users) = (upper.as_ref(), marks == Marks::User);
            fuse::mount(fuse::Parts { lower: &lower, upper, access: plan.access, marks_of_users })
        }
        Mount::Union { lower, upper, .. } if needs_layers(lower) => layers.inside(|inside| {
            let lower = lower.iter().map(|mount| lower_inside(inside, mount)).collect::<io::Result<Vec<_>>>()?;
            let upper = upper.as_ref().map(|upper| upper_inside(inside, upper)).transpose()?;
            union(&lower, upper.as_ref(), attributes, marks)
        }),
        Mount::Union { lower, upper, .. } => {
            let lower = lower.iter().map(dir).collect::<io::Result<Vec<_>>>()?;
            union(&lower, upper.as_ref(), attributes, marks)
        }
    }
}

/// Whose ids files have in a mount that is assembled for a user namespace.
#[derive(Clone, Copy, Debug)]
pub struct ForUsers<'a> {
    /// The namespace.
    pub namespace: BorrowedFd<'a>,
    /// Who is root in it, here.
    pub root: (u32, u32),
}

/// Like [`assemble`], with the ids of a user namespace: what belongs to 0 on the disk belongs to the namespace's root, and
/// what it writes is kept as 0's. Layers stay shared, and nothing is copied.
///
/// Needs filesystems that can map ids.
pub fn assemble_for(plan: &MountPlan, layers: &LayerMounts, users: ForUsers<'_>) -> io::Result<OwnedFd> {
    let mapped = |mount: OwnedFd| -> io::Result<OwnedFd> {
        detached::map_ids(mount.as_fd(), users.namespace, false)?;
        Ok(mount)
    };
    let dir = |path: &Path| -> io::Result<OwnedFd> {
        let mount = open_tree(path)?;
        detached::set_private(mount.as_fd())?;
        mapped(mount)
    };
    match &plan.root {
        Mount::Dir(path) => {
            let mount = dir(path)?;
            if plan.access == Access::ReadOnly {
                detached::set_read_only(mount.as_fd(), false)?;
            }
            Ok(mount)
        }
        Mount::Image { .. } | Mount::Thin { .. } | Mount::Dataset { .. } => mapped(assemble(plan, layers)?),
        Mount::Union { how: Union::Aufs, .. } => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "aufs shows files with their own ids only"))
        }
        Mount::Union { how: Union::Fuse, .. } => {
            let mount = assemble(plan, layers)?;
            fuse::settle(&mount)?;
            mapped(mount)
        }
        Mount::Union { lower, upper, .. } => {
            let upper = upper.as_ref().map(|upper| Ok::<_, io::Error>((upper, dir(holder(upper)?)?))).transpose()?;
            let mut parts = Vec::with_capacity(lower.len());
            for mount in lower {
                parts.push(match mount {
                    Mount::Image { .. } => {
                        mapped(assemble(&MountPlan { root: mount.clone(), access: Access::ReadOnly }, layers)?)?
                    }
                    Mount::Dir(path) => dir(path)?,
                    Mount::Union { .. } | Mount::Thin { .. } | Mount::Dataset { .. } => {
                        return Err(io::Error::new(
                            io::ErrorKind::Unsupported,
                            "a union of what cannot be one's layer",
                        ));
                    }
                });
            }
            // What overlayfs makes itself, such as whiteouts, it makes as who mounted it: that has to be somebody with an
            // id on the mapped disk. Only this thread becomes root of the namespace.
            on_thread(|| {
                let _root = user_namespace::FilesAs::become_owner(users.root.0, users.root.1)?;
                union_of(&parts, upper.as_ref().map(|(upper, mount)| (*upper, mount)), plan.access)
            })
        }
    }
}

/// The directory that holds both an upper directory and its work directory: overlayfs wants them on one mount.
fn holder(upper: &Upper) -> io::Result<&Path> {
    match (upper.dir.parent(), upper.work.parent()) {
        (Some(one), Some(other)) if one == other => Ok(one),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "an upper directory away from its work directory")),
    }
}

/// Makes an overlay of detached mounts. The calling thread ends soon: on kernels before 6.15 it is in another mount namespace
/// afterwards.
fn union_of(lower: &[OwnedFd], upper: Option<(&Upper, &OwnedFd)>, access: Access) -> io::Result<OwnedFd> {
    if let Some((upper, _)) = upper.filter(|(upper, _)| upper.volatile) {
        // The mark of an earlier volatile mount: see `union`.
        crate::durable::remove(&upper.work.join("work/incompat")).map_err(|error| error.source)?;
    }
    match try_union_of(Given::ByDescriptor, lower, upper, access) {
        // Descriptors like these are not taken, and neither is what is mounted nowhere.
        Err(Errno::BADF | Errno::INVAL) => {
            isolate::own_mounts()?;
            let place = crate::process::open_dir(Path::new("/"))?;
            for mount in lower.iter().chain(upper.map(|(_, mount)| mount)) {
                detached::attach(mount.as_fd(), place.as_fd())?;
            }
            Ok(try_union_of(Given::ByPath, lower, upper, access)?)
        }
        tried => Ok(tried?),
    }
}

/// How overlayfs is told a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// Linux 6.15; it may be mounted nowhere.
    ByDescriptor,
    /// It has to be mounted in this thread's namespace.
    ByPath,
}

fn try_union_of(
    given: Given,
    lower: &[OwnedFd],
    upper: Option<(&Upper, &OwnedFd)>,
    access: Access,
) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    rustix::mount::fsconfig_set_string(context, "source", "overlay")?;
    let set = |key: &str, part: &OwnedFd| match given {
        Given::ByDescriptor => rustix::mount::fsconfig_set_fd(context, key, part),
        Given::ByPath => {
            let path = format!("/proc/thread-self/fd/{}", part.as_raw_fd());
            rustix::mount::fsconfig_set_string(context, key, path)
        }
    };
    for part in lower {
        set("lowerdir+", part)?;
    }
    if let Some((upper, mount)) = upper {
        for (key, path) in [("upperdir", &upper.dir), ("workdir", &upper.work)] {
            let name = path.file_name().unwrap_or_default();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            set(key, &rustix::fs::openat(mount, name, flags, Mode::empty())?)?;
        }
        if upper.volatile {
            rustix::mount::fsconfig_set_flag(context, "volatile")?;
        }
    }
    for feature in ["metacopy", "redirect_dir", "index"] {
        rustix::mount::fsconfig_set_string(context, feature, "off")?;
    }
    rustix::mount::fsconfig_create(context)?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes_for(access))
}

fn attributes_for(access: Access) -> MountAttrFlags {
    match access {
        Access::ReadOnly => MountAttrFlags::MOUNT_ATTR_RDONLY,
        Access::ReadWrite => MountAttrFlags::empty(),
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
fn union(lower: &[PathBuf], upper: Option<&Upper>, attributes: MountAttrFlags, marks: Marks) -> io::Result<OwnedFd> {
    match (try_union(lower, upper, attributes, marks), upper) {
        // The mark of an earlier volatile mount. The files it warns about are those of a container that nobody keeps.
        (Err(error), Some(upper)) if upper.volatile && error.kind() == io::ErrorKind::InvalidInput => {
            let mark = upper.work.join("work/incompat");
            if crate::durable::remove(&mark).map_err(|error| error.source)? {
                try_union(lower, Some(upper), attributes, marks)
            } else {
                Err(error)
            }
        }
        (tried, _) => tried,
    }
}

fn try_union(
    lower: &[PathBuf],
    upper: Option<&Upper>,
    attributes: MountAttrFlags,
    marks: Marks,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    rustix::mount::fsconfig_set_string(context, "source", "overlay")?;
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
    if marks == Marks::User {
        // Which excludes the two others; kernels that always follow redirects refuse even their `off`.
        rustix::mount::fsconfig_set_flag(context, "userxattr")?;
        rustix::mount::fsconfig_set_string(context, "index", "off")?;
    } else {
        for feature in ["metacopy", "redirect_dir", "index"] {
            rustix::mount::fsconfig_set_string(context, feature, "off")?;
        }
    }
    rustix::mount::fsconfig_create(context)?;
    Ok(rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// In which attributes overlayfs keeps its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marks {
    /// Those that only the machine's root may set.
    Trusted,
    /// Those that anyone may set: in a user namespace nobody may set the others.
    User,
}

impl Marks {
    /// Looks where this process is. Not in the layers' namespace: there is no `/proc` to look at.
    fn here() -> Self {
        if user_namespace::is_initial() { Self::Trusted } else { Self::User }
    }
}
