//! `cargo xtask test-vm`: tests in a guest whose kernel has what this machine's has not.
//!
//! ```text
//! target/vm/kernel/   Debian's kernel, unpacked and not installed; made once
//! target/vm/zfs/      ZFS for that kernel, if somebody had it built by `cargo xtask vm-zfs`
//! target/vm/root/     the guest's root directory: programs of this machine with their libraries, and our tests
//! target/vm/root.img  the same as an ext4 disk; the guest writes to a copy that is thrown away
//! target/vm/initrd    what finds that disk
//! target/vm/systemd/  a Debian with systemd and podman, for `cargo xtask test-systemd`; made once
//! ```
//!
//! The guest is emulated instruction by instruction: nothing is asked of the machine but qemu, and everything takes about
//! ten times as long as outside.

mod guest;
mod image;
mod kernel;
pub(crate) mod systemd;
mod zfs;

use std::path::{Path, PathBuf};

use crate::shell::{Done, cargo, run, workspace};
use crate::test::unexpected_skips;
use crate::{build, packages};
use zfs::Zfs;

/// What the guest runs: the package, its test program, which of its tests, and for which of the drivers that need a guest.
const SUITES: &[Suite] = &[
    Suite { package: "strata-snapshot", target: &["--test", "drivers"], filter: &["--skip", "btrfs::"], driver: THIN },
    Suite {
        package: "strata-snapshot",
        target: &["--test", "drivers"],
        filter: &["--skip", "btrfs::", "--skip", "quota::"],
        driver: ZFS,
    },
    Suite {
        package: "strata-snapshot",
        target: &["--test", "lending"],
        filter: &["sealed::", "whoever_sees"],
        driver: THIN,
    },
    Suite {
        package: "strata-sys",
        target: &["--lib"],
        filter: &["cgroup", "fuse::", "lock::", "verity"],
        driver: THIN,
    },
    Suite {
        package: "strata-cli",
        target: &["--test", "containers"],
        filter: &["drivers::", "integrity::", "limits::", "roots_files_are_its_own", "secrets::", "version_2::"],
        driver: THIN,
    },
    Suite { package: "strata-cli", target: &["--test", "killed"], filter: KILLED, driver: THIN },
    Suite { package: "strata-cli", target: &["--test", "killed"], filter: KILLED, driver: ZFS },
    Suite { package: "strata-cli", target: &["--test", "killed"], filter: &["rmi_of_a_lender"], driver: SEALED },
    Suite {
        package: "strata-cli",
        target: &["--test", "power"],
        filter: &["removal_of_a_lender_survives"],
        driver: SEALED,
    },
    Suite { package: "strata-cli", target: &["--test", "rootless"], filter: &["delegated::"], driver: THIN },
];

/// What does everything that a driver does: layers come and go, containers too, are put back, and move.
const KILLED: &[&str] = &[
    "::commit_can",
    "::gc_can",
    "::migrate_can",
    "::pull_can",
    "::push_can",
    "::rm_can",
    "::rollback_can",
    "::snapshot_can",
];

const THIN: &str = "devicemapper";
/// On an ext4 with fs-verity.
const SEALED: &str = "erofs";
/// Where it was built.
const ZFS: &str = "zfs";

/// Tests of one program.
struct Suite {
    package: &'static str,
    target: &'static [&'static str],
    filter: &'static [&'static str],
    driver: &'static str,
}

/// Runs all suites in one boot; words, if there are any, are the names of the only tests wanted.
pub(crate) fn run_suites(words: &[&str]) -> Done {
    packages::install(packages::VM)?;
    run(&mut cargo(&["build", "--quiet", "--package", "strata-cli"]))?;
    let program = build::target()?.join("debug/strata");
    let mut commands = Vec::new();
    let mut programs = vec![(program, "strata".to_owned())];
    let dir = directory();
    let kernel = kernel::debian(&dir.join("kernel"))?;
    let zfs = Zfs::found(&dir, &kernel);
    if zfs.is_none() {
        eprintln!("ZFS is not tested: `cargo xtask vm-zfs` builds it for {}", kernel.version);
    }
    for suite in SUITES.iter().filter(|suite| suite.driver != ZFS || zfs.is_some()) {
        let path = test_program(suite)?;
        let name = format!("{}-{}", suite.package, suite.target.last().unwrap_or(&"").trim_start_matches('-'));
        let filter = if words.is_empty() { suite.filter } else { words };
        let driver = suite.driver;
        commands
            .push(format!("STRATA_TEST_DRIVER={driver} /tests/{name} --quiet --test-threads 2 {}", filter.join(" ")));
        programs.push((path, name));
    }
    let disk = image::make(&dir, &kernel, zfs.as_ref(), &programs, &script(&commands)?)?;
    let said = guest::boot(&kernel, &disk, guest::Reboot::Ends)?;
    let skipped: String = said.skips.iter().map(|line| format!("{line}\n")).collect();
    unexpected_skips(&skipped, &workspace().join("xtask/expected-skips-vm.txt"))?;
    if said.failed { Err("tests failed in the guest".to_owned()) } else { Ok(()) }
}

/// Builds ZFS for the guest's kernel, where it stays.
pub(crate) fn build_zfs() -> Done {
    packages::install(packages::ZFS)?;
    let dir = directory();
    Zfs::build(&dir, &kernel::debian(&dir.join("kernel"))?)
}

fn directory() -> PathBuf {
    workspace().join("target/vm")
}

/// Builds a test program and says where it is.
fn test_program(suite: &Suite) -> Done<PathBuf> {
    let mut command = cargo(&["test", "--no-run", "--quiet", "--message-format=json", "--package", suite.package]);
    command.args(suite.target).stderr(std::process::Stdio::inherit());
    let printed = crate::shell::output(&mut command)?;
    let mut messages = printed.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let found = messages.find_map(|message| {
        let is_test = message["profile"]["test"].as_bool() == Some(true);
        is_test.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    found.ok_or_else(|| format!("cargo names no test program of {}", suite.package))
}

/// The guest's first process, a shell: what a system has mounted, then the tests, one program after the other.
fn script(commands: &[String]) -> Done<String> {
    // Where tests have their scratch directories is written into them.
    let scratch = [workspace().join("target/tmp"), build::target()?.join("tmp")];
    let scratch: Vec<String> = scratch.iter().map(|dir| quoted(dir)).collect();
    Ok(format!(
        "#!/bin/sh\n\
         export PATH=/usr/sbin:/usr/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8\n\
         export CARGO_BIN_EXE_strata=/tests/strata STRATA_SKIPS=/skips RUST_BACKTRACE=1\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         mkdir -p /dev/pts /dev/shm /run /var /root {scratch}; mkdir -m 1777 -p /tmp /var/tmp\n\
         mount -t devpts -o ptmxmode=666 devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t tmpfs tmpfs /run\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup; ln -s /proc/self/fd /dev/fd; ip link set lo up; modprobe -a btrfs dm-thin-pool erofs fuse loop overlay quota_v2 xfs\n\
         [ ! -e /usr/sbin/zpool ] || modprobe zfs\n\
         failed=0; touch /skips; cd /root\n\
         echo {BEGIN}\n\
         {commands}\
         sed 's/^/{SKIP}/' /skips\n\
         echo {END}$failed\n\
         sync; poweroff -f\n",
        scratch = scratch.join(" "),
        commands = commands.iter().map(|command| format!("{command} || failed=1\n")).collect::<String>(),
        BEGIN = guest::BEGIN,
        SKIP = guest::SKIP,
        END = guest::END,
    ))
}

/// A path as a shell's word.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
