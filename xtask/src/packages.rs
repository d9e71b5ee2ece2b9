//! The Debian packages that the tasks need, installed on a machine that lacks them.

use std::process::Command;

use strata_testkit::host;

use crate::shell::{Done, run};

/// A program and the package that has it.
pub(crate) struct Need(pub(crate) &'static str, pub(crate) &'static str);

/// For the demo: a real base image and a registry to serve it.
pub(crate) const DEMO: &[Need] = &[Need("mmdebstrap", "mmdebstrap"), Need("docker-registry", "docker-registry")];

/// For the tests: other people's programs as oracles.
pub(crate) const TEST: &[Need] = &[
    Need("mmdebstrap", "mmdebstrap"),
    Need("docker-registry", "docker-registry"),
    Need("skopeo", "skopeo"),
    Need("qemu-aarch64-static", "qemu-user-static"),
    Need("crun", "crun"),
    Need("runc", "runc"),
    Need("podman", "podman"),
    Need("dockerd", "docker.io"),
    Need("fsck.erofs", "erofs-utils"),
    Need("busybox", "busybox-static"),
    Need("mkfs.btrfs", "btrfs-progs"),
    Need("mkfs.ext4", "e2fsprogs"),
    Need("mkfs.xfs", "xfsprogs"),
    Need("openssl", "openssl"),
    Need("python3", "python3"),
    Need("git", "git"),
    Need("ssh-keygen", "openssh-client"),
    Need("dropbear", "dropbear-bin"),
    Need("script", "bsdutils"),
    Need("zstd", "zstd"),
    Need("xz", "xz-utils"),
    Need("getfattr", "attr"),
    Need("strace", "strace"),
    Need("gcc", "gcc"),
    Need("objcopy", "binutils"),
    Need("rpmbuild", "rpm"),
    Need("ip", "iproute2"),
    Need("nft", "nftables"),
    Need("ps", "procps"),
    Need("newuidmap", "uidmap"),
    Need("pasta", "passt"),
    Need("systemctl", "systemd"),
    Need("dbus-daemon", "dbus-daemon"),
];

/// For the tests in a guest: an emulator, and what the guest's root is made of.
pub(crate) const VM: &[Need] = &[
    Need("qemu-system-x86_64", "qemu-system-x86"),
    Need("depmod", "kmod"),
    Need("xz", "xz-utils"),
    Need("busybox", "busybox-static"),
    Need("mkfs.ext4", "e2fsprogs"),
    Need("mkfs.btrfs", "btrfs-progs"),
    Need("mkfs.xfs", "xfsprogs"),
    Need("dmsetup", "dmsetup"),
    Need("docker-registry", "docker-registry"),
    Need("skopeo", "skopeo"),
    Need("fsck.erofs", "erofs-utils"),
    Need("ip", "iproute2"),
    Need("ps", "procps"),
];

/// For building ZFS for the guest.
pub(crate) const ZFS: &[Need] = &[
    Need("depmod", "kmod"),
    Need("xz", "xz-utils"),
    Need("gcc", "gcc"),
    Need("make", "make"),
    Need("bc", "bc"),
    Need("strip", "binutils"),
];

/// For the bench: what we are compared with.
pub(crate) const BENCH: &[Need] = &[
    Need("mkfs.btrfs", "btrfs-progs"),
    Need("mmdebstrap", "mmdebstrap"),
    Need("docker-registry", "docker-registry"),
    Need("crun", "crun"),
    Need("curl", "curl"),
    Need("gcc", "gcc"),
    Need("ip", "iproute2"),
    Need("mkfs.ext4", "e2fsprogs"),
];

/// Installs what is missing with apt; without apt or root it says what to install.
pub(crate) fn install(needs: &[Need]) -> Done {
    let missing: Vec<&str> =
        needs.iter().filter(|need| host::find_program(need.0).is_none()).map(|need| need.1).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if host::root().is_err() || host::find_program("apt-get").is_none() {
        return Err(format!("please install these packages first: {}", missing.join(" ")));
    }
    eprintln!("Installing Debian packages: {}", missing.join(" "));
    run(apt().args(["update", "-q"]))?;
    run(apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(&missing))
}

/// apt without questions; `RUNLEVEL=1` keeps it from starting the daemons it installs.
pub(crate) fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdout(std::process::Stdio::null());
    command
}
