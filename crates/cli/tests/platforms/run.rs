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
    let error = machine.strata(["run", "--rm", "--platform", "linux/s390x", "--pull", "never", "arm"]).fails(125);
    let says = "image with reference arm was found but does not match the specified platform: wanted linux/s390x, actual: \
                linux/arm64";
    assert!(error.contains(says), "{error}");
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

#[test]
fn an_emulator_is_passed_in_where_the_kernel_cannot_be_told_of_it() {
    need_all!();
    let machine = machine();
    let because = "the program that the container begins with is emulated, not those that it executes, because of ";
    for (options, obstacle) in [
        (&["--privileged"][..], "--privileged"),
        (&["--pid", "host"], "--pid host"),
        (&["--ipc", "host"], "--ipc host"),
    ] {
        let ran = machine.strata(["run", "--rm", "--network", "none"].iter().chain(options).chain(&["arm"]));
        assert_eq!((ran.out.as_str(), ran.code), (SAYS, 7), "{options:?}: {}", ran.err);
        assert!(
            ran.err.contains(because) && ran.err.contains(&format!("because of {obstacle}; register qemu")),
            "{}",
            ran.err
        );
    }
    let run = |words: &[&str]| {
        machine.strata(["run", "--rm", "--network", "none", "--privileged", "-v", "vol:/v"].iter().chain(words))
    };
    // Behind an init, as somebody else, found in the path.
    let ran = run(&["--init", "--user", "7:7", "-e", "PATH=/", "arm", "hello"]);
    assert_eq!((ran.out.as_str(), ran.code), (SAYS, 7), "{}", ran.err);
    // It is not there in the container; what it runs cannot execute others of its kind, but those of this machine.
    let ran = run(&["arm", "/hello", "/v/made", "/other"]);
    assert_eq!((ran.out.as_str(), ran.code), ("", 9), "{}", ran.err);
    let ran = run(&["-v", "/bin/busybox:/busybox", "arm", "/hello", "/v/made", "/busybox", "echo", "native"]);
    assert_eq!((ran.out.as_str(), ran.code), ("native\n", 0), "{}", ran.err);
    // A script is run by what it names; what is no program is not.
    let write = |text: &str| {
        machine
            .sh(&format!(
                "printf '{text}' > store/volumes/vol/_data/script && chmod 755 store/volumes/vol/_data/script"
            ))
            .ok()
    };
    write("#!/hello  /v/by-script\n");
    let ran = run(&["-v", "/bin/busybox:/busybox", "arm", "/v/script", "x"]);
    assert_eq!(ran.code, 9, "{}{}", ran.out, ran.err);
    machine.sh("test -e store/volumes/vol/_data/by-script").ok();
    write("nonsense");
    assert!(run(&["arm", "/v/script"]).fails(126).contains("exec: \"/v/script\": exec format error"));
    // Others that are started in it are emulated, too, and nobody else has a rule.
    let words = [
        "run",
        "-d",
        "--name",
        "held",
        "--privileged",
        "--network",
        "none",
        "-v",
        "/bin/busybox:/busybox",
        "arm",
        "/busybox",
    ];
    machine.strata(words.iter().chain(&["sleep", "1000"])).ok();
    let ran = machine.strata(["exec", "held", "/other"]);
    assert_eq!((ran.out.as_str(), ran.code), (SAYS, 7), "{}", ran.err);
    assert_eq!(machine.sh("mount -t binfmt_misc none /mnt && ls /mnt | grep -c aarch64").out, "0\n");
    machine.strata(["rm", "-f", "held"]).ok();
    let error = machine.strata(["run", "--rm", "--runtime", "crun", "--network", "none", "arm"]);
    assert!(error.code != 0 && error.err.contains("emulated by the native runtime only"), "{}", error.err);
}
