//! What this kernel can do, found out by trying.

use std::io;
use std::path::Path;

use rustix::mount::FsOpenFlags;

/// Whether the kernel has a filesystem: asks for a context of it, which loads its module. Needs CAP_SYS_ADMIN.
pub fn filesystem(name: &str) -> io::Result<()> {
    rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    Ok(())
}

/// Whether overlays take their lower directories one by one (`lowerdir+`, Linux 6.5), as many layers need.
pub fn overlay_lower_by_lower() -> io::Result<()> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    Ok(rustix::mount::fsconfig_set_string(&context, "lowerdir+", "/")?)
}

/// Whether an EROFS image with a further device can be mounted from files without loop devices (Linux 6.12).
pub fn erofs_from_file(image: &Path, device: &Path) -> io::Result<()> {
    let source = image.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let device = device.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let attributes = rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY;
    crate::layer_mounts::new_mount(
        "erofs",
        &[("source", Some(source)), ("device", Some(device)), ("ro", None)],
        attributes,
    )
    .map(drop)
}
