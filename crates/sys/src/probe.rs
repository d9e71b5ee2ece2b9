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
    version(rustix::system::uname().release().to_str().unwrap_or_default()) >= (6, 7)
}

/// The first two numbers of a release: `6.12.3-arch1` is 6 and 12.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    (number(), number())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_versions() {
        for (release, expected) in [
            ("6.12.3-arch1-1", (6, 12)),
            ("6.7", (6, 7)),
            ("6.1.0-25-amd64", (6, 1)),
            ("5.10.0+", (5, 10)),
            ("10-rc1", (10, 0)),
            ("strange", (0, 0)),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
