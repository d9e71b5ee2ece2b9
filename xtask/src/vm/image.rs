//! The guest's root: programs of this machine with their libraries, the kernel's modules, our tests.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use strata_testkit::host;

use super::kernel::Kernel;
use super::zfs::{MODULES, Zfs};
use crate::shell::{Done, output, run};

/// Programs whose busybox cousins can less. Everything else is busybox.
const PROGRAMS: &[&str] = &[
    "btrfs",
    "busybox",
    "cat",
    "cp",
    "dmsetup",
    "docker-registry",
    "fsck.erofs",
    "ip",
    "losetup",
    "mkfs.btrfs",
    "mkfs.ext4",
    "mkfs.xfs",
    "modprobe",
    "mount",
    "nsenter",
    "ps",
    "setpriv",
    "sh",
    "skopeo",
    "tar",
    "umount",
    "unshare",
    "xfs_quota",
];

/// What the disk has besides the files in it; a sparse file.
const SPACE_MIB: u64 = 2048;

/// The root disk and what finds it.
pub(crate) struct Disk {
    /// An ext4 filesystem.
    pub(crate) root: PathBuf,
    /// What the kernel unpacks first.
    pub(crate) initrd: PathBuf,
}

/// Makes both anew.
pub(crate) fn make(
    dir: &Path,
    kernel: &Kernel,
    zfs: Option<&Zfs>,
    programs: &BTreeMap<String, PathBuf>,
    init: &str,
) -> Done<Disk> {
    let root = dir.join("root");
    if root.exists() {
        std::fs::remove_dir_all(&root).map_err(|error| format!("cannot remove {}: {error}", root.display()))?;
    }
    for name in ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "dev", "proc", "sys", "tests", "etc", "mnt"] {
        make_dir(&root.join(name))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        link(&format!("usr/{name}"), &root.join(name))?;
    }
    write(&root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")?;
    write(&root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    write(&root.join("etc/hostname"), "guest\n")?;
    install_programs(&root)?;
    add_modules(&root, kernel)?;
    if let Some(zfs) = zfs {
        install_zfs(&root, kernel, zfs)?;
    }
    for (name, from) in programs {
        copy(from, &root.join("tests").join(name))?;
    }
    write(&root.join("init"), init)?;
    let disk = Disk { root: dir.join("root.img"), initrd: dir.join("initrd") };
    make_filesystem(&root, &disk.root)?;
    make_initrd(dir, kernel, &disk.initrd)?;
    Ok(disk)
}

/// Puts the kernel's modules where they are looked for.
pub(super) fn add_modules(root: &Path, kernel: &Kernel) -> Done {
    let modules = root.join("usr/lib/modules");
    make_dir(&modules)?;
    run(Command::new("cp").arg("-rT").arg(&kernel.modules).arg(modules.join(&kernel.version)))
}

/// Copies the programs with every library that they load, and links busybox to all other names it knows.
fn install_programs(root: &Path) -> Done {
    let mut files = BTreeSet::new();
    for name in PROGRAMS {
        let program = host::find_program(name).ok_or_else(|| format!("`{name}` is not installed"))?;
        // Static programs have no libraries, and ldd says so by failing.
        let libraries = output(Command::new("ldd").arg(&program).env("LC_ALL", "C")).unwrap_or_default();
        files.extend(libraries.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
        files.insert(program);
    }
    for file in files {
        install(root, &file, &file)?;
    }
    let applets = output(Command::new("busybox").arg("--list"))?;
    for applet in applets.lines() {
        if !["bin", "sbin"].iter().any(|dir| root.join("usr").join(dir).join(applet).exists()) {
            link("busybox", &root.join("usr/bin").join(applet))?;
        }
    }
    Ok(())
}

/// Puts a file where the guest has what is at `inside` here: `/lib` and the like are below `/usr`.
fn install(root: &Path, file: &Path, inside: &Path) -> Done {
    let inside = inside.strip_prefix("/").unwrap_or(inside);
    let to = root.join("usr").join(inside.strip_prefix("usr").unwrap_or(inside));
    make_dir(to.parent().unwrap_or(root))?;
    copy(file, &to)
}

fn install_zfs(root: &Path, kernel: &Kernel, zfs: &Zfs) -> Done {
    for (file, inside) in zfs.files()? {
        install(root, &file, &inside)?;
    }
    for module in MODULES {
        let inside = Path::new("lib/modules").join(&kernel.version).join("extra").join(module);
        install(root, &zfs.module(module), &inside)?;
    }
    run(Command::new("depmod").arg("-b").arg(root.join("usr")).arg(&kernel.version))
}

pub(super) fn make_filesystem(root: &Path, image: &Path) -> Done {
    let used = output(Command::new("du").arg("-sm").arg(root))?;
    let used_mib: u64 = used.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let new = std::fs::File::create(image).and_then(|file| file.set_len((used_mib + SPACE_MIB) << 20));
    new.map_err(|error| format!("cannot make {}: {error}", image.display()))?;
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-F", "-b", "4096", "-O", "verity", "-E", "root_owner=0:0", "-d"]).arg(root).arg(image);
    run(&mut command)
}

/// A busybox that loads the disk's driver and starts what is on the disk.
pub(super) fn make_initrd(dir: &Path, kernel: &Kernel, image: &Path) -> Done {
    let tree = dir.join("initrd.d");
    let _old = std::fs::remove_dir_all(&tree);
    for name in ["bin", "dev", "new"] {
        make_dir(&tree.join(name))?;
    }
    copy(&host::find_program("busybox").ok_or("`busybox` is not installed")?, &tree.join("bin/busybox"))?;
    let driver = kernel.modules.join("kernel/drivers/block/virtio_blk.ko");
    copy(&driver, &tree.join("virtio_blk.ko"))?;
    let init = "#!/bin/busybox sh\n\
                /bin/busybox mount -t devtmpfs dev /dev\n\
                /bin/busybox insmod /virtio_blk.ko\n\
                /bin/busybox mount -t ext4 /dev/vda /new && exec /bin/busybox switch_root /new /init\n\
                /bin/busybox poweroff -f\n";
    write(&tree.join("init"), init)?;
    let script = "cd \"$1\" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 > \"$2\"";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(&tree).arg(image))
}

pub(super) fn make_dir(dir: &Path) -> Done {
    std::fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))
}

fn link(target: &str, at: &Path) -> Done {
    symlink(target, at).map_err(|error| format!("cannot make {}: {error}", at.display()))
}

pub(super) fn copy(from: &Path, to: &Path) -> Done {
    std::fs::copy(from, to).map(drop).map_err(|error| format!("cannot copy {}: {error}", from.display()))
}

/// Writes a file that may be executed.
pub(super) fn write(path: &Path, text: &str) -> Done {
    let written = std::fs::write(path, text);
    let written = written.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}
