//! `cargo xtask test-vm`: tests in a guest whose kernel has what this machine's has not.
//!
//! ```text
//! target/vm/kernel/   Debian's kernel, unpacked and not installed; made once
//! target/vm/zfs/      ZFS for that kernel, if somebody had it built by `cargo xtask vm-zfs`
//! target/vm/root/     the guest's root directory: programs of this machine with their libraries, and our tests
//! target/vm/root.img  the same as an ext4 disk; each guest writes to a copy that is thrown away
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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use crate::shell::{Done, cargo, run, workspace};
use crate::test::unexpected_skips;
use crate::{build, packages};
use zfs::Zfs;

/// What the guests run. Two of them run at once, each on one processor of this machine: neighbours take about as long as
/// each other.
const GUESTS: &[Guest] = &[
    Guest {
        name: "images",
        suites: &[
            Suite {
                package: "strata-snapshot",
                target: &["--test", "drivers"],
                filter: &["--skip", "btrfs::"],
                driver: THIN,
            },
            Suite {
                package: "strata-snapshot",
                target: &["--test", "lending"],
                filter: &["sealed::", "whoever_sees"],
                driver: THIN,
            },
            Suite { package: "strata-cli", target: &["--test", "killed"], filter: KILLED_IMAGES, driver: THIN },
            Suite {
                package: "strata-cli",
                target: &["--test", "killed"],
                filter: &["check_repair", "rmi_of_a_lender"],
                driver: SEALED,
            },
            Suite {
                package: "strata-cli",
                target: &["--test", "power"],
                filter: &["removal_of_a_lender_survives"],
                driver: SEALED,
            },
        ],
    },
    Guest {
        name: "containers",
        suites: &[
            Suite {
                package: "strata-sys",
                target: &["--lib"],
                filter: &["cgroup", "fuse::", "lock::", "thin::", "verity"],
                driver: THIN,
            },
            Suite {
                package: "strata-cli",
                target: &["--test", "containers"],
                filter: &[
                    "ahead::",
                    "drivers::",
                    "integrity::",
                    "limits::",
                    "roots_files_are_its_own",
                    "secrets::",
                    "version_2::",
                ],
                driver: THIN,
            },
            Suite { package: "strata-cli", target: &["--test", "rootless"], filter: &["delegated::"], driver: THIN },
            Suite { package: "strata-cli", target: &["--test", "killed"], filter: KILLED_OTHERS, driver: THIN },
        ],
    },
    Guest {
        name: "zfs-images",
        suites: &[
            Suite {
                package: "strata-snapshot",
                target: &["--test", "drivers"],
                filter: &["--skip", "btrfs::", "--skip", "quota::"],
                driver: ZFS,
            },
            Suite { package: "strata-cli", target: &["--test", "killed"], filter: KILLED_IMAGES, driver: ZFS },
        ],
    },
    Guest {
        name: "zfs-containers",
        suites: &[Suite { package: "strata-cli", target: &["--test", "killed"], filter: KILLED_OTHERS, driver: ZFS }],
    },
];

/// All operations on images that do something with a driver that only the guest has.
const KILLED_IMAGES: &[&str] =
    &["images::", "--skip", "windows", "--skip", "a_partial", "--skip", "rmi_of_a_lender", "--skip", "tag_can"];

/// All other operations that do: those that are not named here.
const KILLED_OTHERS: &[&str] =
    &["can_be_killed_anywhere", "--skip", "images::", "--skip", "kept::", "--skip", "volume_prune"];

const THIN: &str = "devicemapper";
/// On an ext4 with fs-verity.
const SEALED: &str = "erofs";
/// Where it was built.
const ZFS: &str = "zfs";

/// How many guests run at once.
const GUESTS_AT_ONCE: usize = 2;

/// One boot.
struct Guest {
    name: &'static str,
    suites: &'static [Suite],
}

/// Tests of one program.
struct Suite {
    package: &'static str,
    target: &'static [&'static str],
    /// Which of its tests.
    filter: &'static [&'static str],
    /// For which of the drivers that need a guest.
    driver: &'static str,
}

/// Runs all suites; words, if there are any, are the names of the only tests wanted.
pub(crate) fn run_suites(words: &[&str]) -> Done {
    packages::install(packages::VM)?;
    run(&mut cargo(&["build", "--quiet", "--package", "strata-cli"]))?;
    let mut programs = BTreeMap::from([("strata".to_owned(), build::target()?.join("debug/strata"))]);
    let dir = directory();
    let kernel = kernel::debian(&dir.join("kernel"))?;
    let zfs = Zfs::found(&dir, &kernel);
    if zfs.is_none() {
        eprintln!("ZFS is not tested: `cargo xtask vm-zfs` builds it for {}", kernel.version);
    }
    let needs_zfs = |guest: &Guest| guest.suites.iter().any(|suite| suite.driver == ZFS);
    let guests: Vec<&Guest> = GUESTS.iter().filter(|guest| zfs.is_some() || !needs_zfs(guest)).collect();
    let mut cases = String::new();
    for guest in &guests {
        cases.push_str(&format!("{})\n", guest.name));
        for suite in guest.suites {
            let name = format!("{}-{}", suite.package, suite.target.last().unwrap_or(&"").trim_start_matches('-'));
            if !programs.contains_key(&name) {
                programs.insert(name.clone(), test_program(suite)?);
            }
            let filter = if words.is_empty() { suite.filter } else { words }.join(" ");
            let driver = suite.driver;
            cases.push_str(&format!(
                "STRATA_TEST_DRIVER={driver} /tests/{name} --quiet --test-threads 2 {filter} || failed=1\n"
            ));
        }
        cases.push_str(";;\n");
    }
    let disk = image::make(&dir, &kernel, zfs.as_ref(), &programs, &script(&cases)?)?;
    run_guests(&guests, &kernel, &disk)
}

/// Boots the guests, some at once, and looks at what all of them said.
fn run_guests(guests: &[&Guest], kernel: &kernel::Kernel, disk: &image::Disk) -> Done {
    let next = Mutex::new(guests.iter());
    let said = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..GUESTS_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let guest = next.lock().expect("nobody panics with it").next();
                    let Some(guest) = guest else { break };
                    let start = Instant::now();
                    let boot = || guest::boot(kernel, disk, guest.name, guest::Reboot::Ends);
                    // Emulated kernels die now and then, with registers that no instruction leaves so.
                    let done = boot().or_else(|why| match why.starts_with(guest::DIED) {
                        true => {
                            eprintln!("{}: {why}\n{0}: once more", guest.name);
                            boot()
                        }
                        false => Err(why),
                    });
                    eprintln!("{}: {:.0} s", guest.name, start.elapsed().as_secs_f64());
                    said.lock().expect("nobody panics with it").push((guest.name, done));
                }
            });
        }
    });
    let (mut skipped, mut failed) = (String::new(), Vec::new());
    for (name, said) in said.into_inner().expect("nobody panicked with it") {
        match said {
            Ok(said) => {
                skipped.extend(said.skips.iter().map(|line| format!("{line}\n")));
                failed.extend(said.failed.then(|| format!("tests failed in the guest `{name}`")));
            }
            Err(why) => failed.push(format!("{name}: {why}")),
        }
    }
    if !failed.is_empty() {
        return Err(failed.join("\n"));
    }
    unexpected_skips(&skipped, &workspace().join("xtask/expected-skips-vm.txt"))
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

/// The guest's first process, a shell: what a system has mounted, then the tests, one program after the other. Which these
/// are is a case for each guest, whose name the kernel was given.
fn script(cases: &str) -> Done<String> {
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
         case $(sed 's/.*{NAME}\\([^ ]*\\).*/\\1/' /proc/cmdline) in\n\
         {cases}\
         esac\n\
         sed 's/^/{SKIP}/' /skips\n\
         echo {END}$failed\n\
         sync; poweroff -f\n",
        scratch = scratch.join(" "),
        BEGIN = guest::BEGIN,
        NAME = guest::NAME,
        SKIP = guest::SKIP,
        END = guest::END,
    ))
}

/// A path as a shell's word.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
