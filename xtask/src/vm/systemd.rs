//! `cargo xtask test-systemd`: a guest with a whole Debian in it, whose first process is systemd: the unit that brings
//! containers back, over a reboot and a power cut, podman with its systemd manager on our runtime, the journal, AppArmor.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::guest::{self, Reboot};
use super::{image, kernel};
use crate::shell::{Done, cargo, run};
use crate::{base, build, packages};

/// What the guest has besides Debian's essential packages.
const PACKAGES: &str = "systemd-sysv,dbus,apparmor,podman,crun,nftables,iproute2,busybox-static,kmod,curl,procps";

/// What a container's image has: busybox by these names.
const APPLETS: &[&str] = &["sh", "cat", "sleep", "httpd", "echo", "tr", "sed", "true"];

/// A unit that runs the next phase at each boot.
const UNIT: &str = "[Unit]\n\
                    After=network.target strata.service\n\
                    [Service]\n\
                    Type=oneshot\n\
                    TimeoutStartSec=infinity\n\
                    StandardOutput=tty\n\
                    StandardError=tty\n\
                    TTYPath=/dev/ttyS0\n\
                    ExecStart=/bin/sh /usr/local/lib/phases\n\
                    [Install]\n\
                    WantedBy=multi-user.target\n";

/// Boots the guest until its last phase has ended.
pub(crate) fn test() -> Done {
    packages::install(packages::VM)?;
    packages::install(packages::DEMO)?;
    run(&mut cargo(&["build", "--quiet", "--package", "strata-cli"]))?;
    let dir = super::directory();
    let kernel = kernel::debian(&dir.join("kernel"))?;
    let tree = dir.join("systemd");
    debian(&tree)?;
    furnish(&tree, &build::target()?.join("debug/strata"))?;
    image::add_modules(&tree, &kernel)?;
    let disk = image::Disk { root: dir.join("systemd.img"), initrd: dir.join("systemd.initrd") };
    image::make_filesystem(&tree, &disk.root)?;
    image::make_initrd(&dir, &kernel, &disk.initrd)?;
    let said = guest::boot(&kernel, &disk, "systemd", Reboot::GoesOn)?;
    if said.failed { Err("something failed in the guest".to_owned()) } else { Ok(()) }
}

/// Debian with systemd and podman; made once.
fn debian(tree: &Path) -> Done {
    if tree.is_dir() {
        return Ok(());
    }
    eprintln!("Making a Debian with systemd and podman from packages");
    let part = tree.with_extension("part");
    if part.exists() {
        std::fs::remove_dir_all(&part).map_err(|error| format!("cannot remove {}: {error}", part.display()))?;
    }
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--mode=root", "--components=main"]);
    command.arg(format!("--include={PACKAGES}")).arg(base::SUITE).arg(&part).args(base::mirror()).stdin(Stdio::null());
    run(&mut command)?;
    std::fs::rename(&part, tree).map_err(|error| format!("cannot keep {}: {error}", tree.display()))
}

/// Puts in what is tested, and what tests it.
fn furnish(tree: &Path, program: &Path) -> Done {
    let bin = tree.join("usr/local/bin");
    image::copy(program, &bin.join("strata"))?;
    image::write(&bin.join("strata-runtime"), "#!/bin/sh\nexec /usr/local/bin/strata runtime \"$@\"\n")?;
    let phases = include_str!("systemd.sh");
    let begin = format!("echo {}\nSTRATA_END={}\n", guest::BEGIN, guest::END);
    image::write(&tree.join("usr/local/lib/phases"), &format!("{begin}{phases}"))?;
    let units = tree.join("etc/systemd/system");
    let unit = units.join("phases.service");
    std::fs::write(&unit, UNIT).map_err(|error| format!("cannot write {}: {error}", unit.display()))?;
    image::make_dir(&units.join("multi-user.target.wants"))?;
    let links = [
        (PathBuf::from("/lib/systemd/systemd"), tree.join("init")),
        (PathBuf::from("../phases.service"), units.join("multi-user.target.wants/phases.service")),
        // The console is the tests' alone.
        (PathBuf::from("/dev/null"), units.join("serial-getty@ttyS0.service")),
    ];
    for (target, at) in links {
        let _old = std::fs::remove_file(&at);
        symlink(&target, &at).map_err(|error| format!("cannot make {}: {error}", at.display()))?;
    }
    let inside = tree.join("opt/box");
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
        image::make_dir(&inside.join(name))?;
    }
    image::copy(&tree.join("bin/busybox"), &inside.join("bin/busybox"))?;
    image::write(&inside.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    for applet in APPLETS {
        let at = inside.join("bin").join(applet);
        let _old = std::fs::remove_file(&at);
        symlink("busybox", &at).map_err(|error| format!("cannot make {}: {error}", at.display()))?;
    }
    Ok(())
}
