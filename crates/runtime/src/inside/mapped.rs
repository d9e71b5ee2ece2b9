//! Containers whose users are others outside: what the shim has to make for a process in a new user namespace, because
//! that process may not, and how it is handed over.
//!
//! The process is made first, with all its namespaces, and waits. The shim says who is whom, mounts the layers and binds
//! with the ids of the new namespace, makes `/dev` with its nodes, and sends each as a detached mount. From then on the
//! process is root in its own namespace and nobody special outside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::Pid;
use strata_sys::assemble::{ForUsers, assemble, assemble_for};
use strata_sys::layer_mounts::LayerMounts;
use strata_sys::{detached, packet, user_namespace};
use strata_types::ids::IdMaps;
use strata_types::mount::MountPlan;
use strata_types::plain;

use super::secrets::DIR as SECRETS;
use super::{Channel, confine, devices, mounts, place};
use crate::Error;
use crate::spec::{Mount, MountSource, Spec};

/// What crossed from the shim to the process.
pub(super) struct Furniture {
    pub(super) rootfs: OwnedFd,
    pub(super) dev: Option<OwnedFd>,
    /// What is bound or holds secrets or images, in the order of `spec.mounts`; memory is made inside.
    pub(super) sources: Vec<OwnedFd>,
}

/// In the shim: furnishes the new process `child`. What could not be done as asked is a warning.
pub(crate) fn furnish(
    spec: &Spec,
    maps: &IdMaps,
    child: i32,
    channel: BorrowedFd<'_>,
    layers: &LayerMounts,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let namespace = user_namespace::set_ids(child, maps).map_err(Error::step("map users and groups"))?;
    let root = maps.outside(0, 0).ok_or_else(|| Error::Spec("a user namespace without root".to_owned()))?;
    let users = ForUsers { namespace: namespace.as_fd(), root };
    // Where all ids stay what they are, files are shown as they are, on any filesystem.
    let mounted = |plan: &MountPlan| match maps.is_identity() {
        true => assemble(plan, layers).map_err(Error::io("mount the container's layers")),
        false => assemble_for(plan, layers, users).map_err(explain),
    };
    let send = |mount: &OwnedFd| {
        packet::send(channel, b"m", &[mount.as_fd()], true).map_err(Error::step("hand mounts to the new process"))
    };
    let rootfs = mounted(&spec.rootfs)?;
    places(spec, rootfs.as_fd(), root)?;
    send(&rootfs)?;
    if !mounts::replaces(spec, "/dev") {
        send(&devices::dev_for(spec, maps, root)?)?;
    }
    for mount in &spec.mounts {
        if let Some(source) = source(mount, maps, users, &mounted, warnings)? {
            send(&source)?;
        }
    }
    limits(spec, child)
}

/// Makes the places that every container has and this image lacks. Only here can they be marked as no changes of the
/// container's.
fn places(spec: &Spec, rootfs: BorrowedFd<'_>, root: (u32, u32)) -> Result<(), Error> {
    let _as_root = user_namespace::FilesAs::become_owner(root.0, root.1)
        .map_err(Error::step("act as the user namespace's root"))?;
    for target in place::STANDING {
        let kind = if target.starts_with("/etc/") { place::Kind::File } else { place::Kind::Directory };
        let wanted = kind == place::Kind::Directory && target != SECRETS;
        if wanted || mounts::replaces(spec, target) {
            place::make(rootfs, target, kind)?;
        }
    }
    Ok(())
}

/// Sentences for what kernels and filesystems cannot do.
fn explain(error: std::io::Error) -> Error {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL | Errno::OPNOTSUPP) => Error::Unsupported(format!(
            "cannot map the ids of the container's files: {}; user namespaces need a store on a filesystem \
             with idmapped mounts, such as ext4, xfs or btrfs",
            plain(&error)
        )),
        _ => Error::io("mount the container's layers for its users")(error),
    }
}

fn source(
    mount: &Mount,
    maps: &IdMaps,
    users: ForUsers<'_>,
    mounted: &dyn Fn(&MountPlan) -> Result<OwnedFd, Error>,
    warnings: &mut Vec<String>,
) -> Result<Option<OwnedFd>, Error> {
    Ok(Some(match &mount.source {
        MountSource::Tmpfs { .. } => return Ok(None),
        MountSource::Bind { path, recursive, propagation, subpath, .. } => {
            let tree = mounts::bind(path, subpath.as_deref(), *recursive, *propagation)?;
            if !maps.is_identity() {
                map_ids(&tree, &path.display().to_string(), *recursive, users, warnings)?;
            }
            tree
        }
        MountSource::Filesystem { kind, device, options, subpath } => {
            let tree = mounts::below(mounts::filesystem(kind, device, options)?, subpath.as_deref())?;
            if !maps.is_identity() {
                map_ids(&tree, device, false, users, warnings)?;
            }
            tree
        }
        MountSource::Plan { plan, subpath } => mounts::part(mounted(plan)?, subpath.as_deref())?,
        MountSource::Secrets(files) => super::secrets::directory(&outside(files, maps)?, mount)?,
        MountSource::Secret(file) => {
            let files = outside(std::slice::from_ref(file), maps)?;
            super::secrets::file(&files[0], mount)?
        }
    }))
}

/// Shows files with the container's ids, if their filesystem can.
fn map_ids(
    tree: &OwnedFd,
    shown: &str,
    recursive: bool,
    users: ForUsers<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    match detached::map_ids(tree.as_fd(), users.namespace, recursive) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) => {
            warnings.push(format!("the ids of `{shown}` cannot be mapped: in the container its files belong to nobody"))
        }
        Err(errno) => return Err(Error::path("map the ids of", shown)(errno)),
    }
    Ok(())
}

/// Secrets with the owners they have outside.
fn outside(files: &[crate::spec::SecretFile], maps: &IdMaps) -> Result<Vec<crate::spec::SecretFile>, Error> {
    let map = |file: &crate::spec::SecretFile| {
        let nobody = || Error::Spec(format!("the secret {}: its owner has no id in the user namespace", file.name));
        let (uid, gid) = maps.outside(file.uid, file.gid).ok_or_else(nobody)?;
        Ok(crate::spec::SecretFile { uid, gid, ..file.clone() })
    };
    files.iter().map(map).collect()
}

/// What root of the namespace may not raise for itself.
fn limits(spec: &Spec, child: i32) -> Result<(), Error> {
    let pid = Pid::from_raw(child);
    for limit in &spec.process.rlimits {
        let (resource, wanted) = confine::rlimit(limit)?;
        match rustix::process::prlimit(pid, resource, wanted) {
            // Tried again inside, as far as this host allows.
            Ok(_) | Err(Errno::PERM) => {}
            Err(errno) => return Err(Error::path("set limit", &limit.name)(errno)),
        }
    }
    Ok(())
}

/// In the process: waits for what the shim makes, and becomes root of its namespace.
pub(super) fn receive(spec: &Spec, channel: &Channel) -> Result<Furniture, Error> {
    let rootfs = channel.mount()?;
    let dev = if mounts::replaces(spec, "/dev") { None } else { Some(channel.mount()?) };
    let sent = spec.mounts.iter().filter(|mount| !matches!(mount.source, MountSource::Tmpfs { .. }));
    let sources = sent.map(|_| channel.mount()).collect::<Result<Vec<_>, _>>()?;
    become_root()?;
    Ok(Furniture { rootfs, dev, sources })
}

/// Becomes root of the user namespace this process is in; it still dies with the shim.
pub(super) fn become_root() -> Result<(), Error> {
    user_namespace::become_root().map_err(Error::step("become the user namespace's root"))?;
    confine::die_with_parent()
}

/// Becomes root of the user namespace this process is in, whatever becomes of its parent.
pub(crate) fn become_root_of_users() -> Result<(), Error> {
    user_namespace::become_root().map_err(Error::step("become the user namespace's root"))
}

/// An empty `/dev` that belongs to the namespace's root.
pub(super) fn empty_dev(root: (u32, u32)) -> Result<OwnedFd, Error> {
    let (uid, gid) = (format!("uid={}", root.0), format!("gid={}", root.1));
    let options = ["mode=755", "size=65536k", &uid, &gid];
    detached::filesystem("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NOSUID)
        .map_err(Error::path("make a filesystem for", "/dev"))
}

/// Gives the ends of pipes to the namespace's root, who may give them on to others in it.
pub(crate) fn own_streams(streams: &super::Streams, maps: &IdMaps) -> Result<(), Error> {
    let (super::Streams::Given(streams), Some((uid, gid))) = (streams, maps.outside(0, 0)) else { return Ok(()) };
    for stream in streams {
        // Not `/dev/null`, which is everybody's.
        let kind = rustix::fs::fstat(stream).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode));
        if kind.map_err(Error::step("look at a standard stream"))? == rustix::fs::FileType::Fifo {
            rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(Error::step("hand over a standard stream"))?;
        }
    }
    Ok(())
}
