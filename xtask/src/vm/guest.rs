//! One boot of the guest.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::image::Disk;
use super::kernel::Kernel;
use crate::shell::Done;

/// What the guest's first line of interest is: what firmware and kernel say before it is shown only if the guest dies.
pub(super) const BEGIN: &str = "strata-vm-begin";
/// What the guest's last line begins with; 0 or 1 follows.
pub(super) const END: &str = "strata-vm-end:";
/// What is said first of a guest whose kernel has ended by itself.
pub(super) const DIED: &str = "the guest died";
/// What a line about a skipped test begins with.
pub(super) const SKIP: &str = "strata-vm-skip:";

/// After what the kernel's parameters say which guest it is.
pub(super) const NAME: &str = "strata-vm-guest=";

/// How long a boot may take with everything in it. An emulated machine on a busy one is slow; a dead one is dead.
const BOOT_MAX: Duration = Duration::from_secs(1500);

/// What the guest said.
pub(super) struct Said {
    /// Whether a test program ended badly.
    pub(super) failed: bool,
    /// Lines about skipped tests.
    pub(super) skips: Vec<String>,
}

/// What it means that the guest reboots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reboot {
    /// It is over.
    Ends,
    /// It boots again, on the disk as it was left.
    GoesOn,
}

/// Boots the guest of that name, shows what is printed, and waits for the end.
pub(super) fn boot(kernel: &Kernel, disk: &Disk, name: &str, reboot: Reboot) -> Done<Said> {
    let mut child = qemu(kernel, disk, name, reboot).spawn().map_err(|error| format!("cannot run qemu: {error}"))?;
    let said = watch(&mut child, name);
    // After its last line the guest has nothing more to do; its disk is a copy.
    let _already_gone = child.kill();
    let _reaped = child.wait();
    said
}

fn qemu(kernel: &Kernel, disk: &Disk, name: &str, reboot: Reboot) -> Command {
    let drive = |path: &Path| format!("file={},if=virtio,format=raw,snapshot=on,cache=unsafe", path.display());
    // One thread for both processors: when one patches the code of a running kernel, the other must not execute what was there.
    // Emulation everywhere: what passes here passes on machines without KVM, and on those whose KVM runs no such kernel.
    let accelerator = std::env::var("STRATA_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=single,tb-size=512".to_owned());
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", &accelerator, "-cpu", "max", "-smp", "2", "-m", "2048", "-M", "pc"]);
    command.args(["-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio"]);
    if reboot == Reboot::Ends {
        command.arg("-no-reboot");
    }
    command.args(["-device", "virtio-rng-pci", "-drive", &drive(&disk.root)]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&disk.initrd);
    let parameters =
        "console=ttyS0 loglevel=1 panic=-1 mitigations=off audit=0 nokaslr tsc=reliable systemd.show_status=0";
    command.args(["-append", &format!("{parameters} {NAME}{name}")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Prints the guest's lines as they come, until the last.
fn watch(child: &mut Child, name: &str) -> Done<Said> {
    let output = child.stdout.take().ok_or("qemu has no output")?;
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if send.send(text).is_err() {
                break;
            }
        }
    });
    let begun = Instant::now();
    let (mut skips, mut early) = (Vec::new(), Some(String::new()));
    loop {
        let line = match lines.recv_timeout(BOOT_MAX.saturating_sub(begun.elapsed())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err(format!("the guest ran longer than {BOOT_MAX:?}")),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(format!("{DIED}\n{}", early.unwrap_or_default()));
            }
        };
        if let Some(lines) = &mut early {
            lines.push_str(&format!("{line}\n"));
            if line.ends_with(BEGIN) {
                early = None;
            }
            continue;
        }
        if let Some((_, failed)) = line.split_once(END) {
            return Ok(Said { failed: failed != "0", skips });
        }
        match line.strip_prefix(SKIP) {
            Some(skip) => skips.push(skip.to_owned()),
            None => eprintln!("{name}: {line}"),
        }
    }
}
