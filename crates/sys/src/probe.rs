//! What this kernel can do, found out by trying.

use std::io;
use std::path::Path;

use rustix::mount::FsOpenFlags;

/// Whether the kernel has a filesystem: asks for a context of it, which loads its module. Needs CAP_SYS_ADMIN.
pub fn filesystem(name: &str) -> io::Result<()> {
    rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    Ok(())
}

/// Whether a user namespace may have rules of its own for programs of other formats: since Linux 6.7, which says so by its
/// version only.
pub fn private_binfmt() -> bool {
    let release = rustix::system::uname();
    let mut numbers = release.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
    (number(), number()) >= (6, 7)
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
