//! `run` of images for other processors.

use strata_testkit::arm64::SAYS;

use super::{machine, need_all};

#[test]
fn programs_for_another_processor_run_and_execute_others() {
    need_all!();
    let machine = machine();
    for options in
        [&["--network", "none"][..], &["--network", "none", "--platform", "linux/arm64"], &["--network", "host"]]
    {
        let ran = machine.strata(["run", "--rm"].iter().chain(options).chain(&["arm"]));
        assert_eq!((ran.out.as_str(), ran.code), (SAYS, 7), "{options:?}: {}", ran.err);
        assert_eq!(ran.err, "", "{options:?}");
    }
    // One that executes another, as somebody who is not root, in a place that it makes a file in.
    let words = ["run", "--name", "arm-c", "--network", "none", "--tmpfs", "/t:mode=1777", "--user", "7:7", "arm"];
    let ran = machine.strata(words.iter().chain(&["/hello", "/t/made", "/other"]));
    assert_eq!((ran.out.as_str(), ran.code), (SAYS, 7), "{}", ran.err);
    // Files belong to whom they belonged to: nothing is mapped.
    let ran =
        machine.strata(["run", "--rm", "--network", "none", "-v", "vol:/v", "arm", "/hello", "/v/made", "/other"]);
    assert_eq!(ran.out, SAYS, "{}", ran.err);
    let stat = machine.sh("stat -c '%u %g' store/volumes/vol/_data/made").ok();
    assert_eq!(stat, "0 0\n");
    machine.strata(["rm", "arm-c"]).ok();
}

#[test]
fn exec_and_a_network_work_in_an_emulated_container() {
    need_all!();
    let machine = machine();
    let words = ["run", "-d", "--name", "arm-c", "--network", "none", "-v", "/bin/busybox:/busybox", "arm", "/busybox"];
    machine.strata(words.iter().chain(&["sleep", "1000"])).ok();
    let ran = machine.strata(["exec", "arm-c", "/other"]);
    assert_eq!((ran.out.as_str(), ran.code), (SAYS, 7), "{}", ran.err);
    // The rules are the container's own, and cannot be written there.
    let rules = machine.strata(["exec", "arm-c", "/busybox", "ls", "/proc/sys/fs/binfmt_misc"]).ok();
    assert_eq!(rules, "qemu-aarch64\nregister\nstatus\n");
    machine.strata(["exec", "arm-c", "/busybox", "sh", "-c", "echo -1 > /proc/sys/fs/binfmt_misc/status"]).fails(1);
    assert_eq!(machine.sh("mount -t binfmt_misc none /mnt && ls /mnt | grep -c aarch64").out, "0\n");
    machine.strata(["rm", "-f", "arm-c"]).ok();
    let ran = machine.strata(["run", "--rm", "--network", "bridge", "arm"]);
    assert!(ran.code != 7 || ran.out == SAYS, "{}", ran.err);
}

#[test]
fn what_cannot_be_emulated_is_said() {
    need_all!();
    let machine = machine();
    let error = machine.strata(["run", "--rm", "--privileged", "arm"]).fails(125);
    assert!(error.contains("programs for arm64 run in a user namespace of their own"), "{error}");
    assert!(error.contains("cannot be together with --privileged"), "{error}");
    let error = machine.strata(["run", "--rm", "--platform", "linux/s390x", "--pull", "never", "arm"]).fails(125);
    assert!(error.contains("No such image: arm:latest"), "{error}");
    // Without qemu.
    let error = machine.sh(&format!(
        "for dir in /usr/local/bin /usr/bin; do mkdir -p empty && for file in $dir/qemu-aarch64*; do \
         [ -e $file ] && mount --bind /dev/null $file; done; done; {} --root store run --rm --network none arm",
        strata_testkit::host::strata().display()
    ));
    assert_eq!(error.code, 126, "{}", error.err);
    let says = "The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64), and \
                qemu-aarch64-static is not here: install the package `qemu-user-static`";
    assert!(error.err.contains(says) && error.err.contains("exec format error"), "{}", error.err);
}
