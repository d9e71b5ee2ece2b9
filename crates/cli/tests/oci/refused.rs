//! What cannot be is told as callers of runc expect it: on standard error, and in the log.

use serde_json::{Value, json};
use strata_testkit::{host, need};

use crate::bundle::Lab;

#[test]
fn failures_are_told_in_the_log_too() {
    need!(host::root(), host::program("busybox"), host::program("ip"));
    let lab = Lab::start();
    let mut config = lab.config("true");
    config["process"]["args"] = json!(["nosuch"]);
    lab.configure(&config);
    let told = lab.strata("--log log --log-format json create --bundle b box").fails(1);
    let missing = "unable to start container process: exec: \"nosuch\": executable file not found in $PATH";
    assert_eq!(told, format!("{missing}\n"));
    let log: Value = serde_json::from_str(&lab.machine.sh("cat log").ok()).unwrap();
    assert_eq!((&log["level"], &log["msg"]), (&json!("error"), &json!(missing)));
    assert!(log["time"].as_str().unwrap().ends_with('Z'));
    let told = lab.strata("state box").fails(1);
    assert!(told.starts_with("time=\"") && told.ends_with("level=error msg=\"container does not exist\"\n"), "{told}");
    assert_eq!((lab.machine.sh("ls state").out, lab.groups()), (String::new(), String::new()), "nothing stays");
}

#[test]
fn nonsense_is_refused_before_anything_is_made() {
    need!(host::root(), host::program("busybox"), host::program("ip"));
    let lab = Lab::start();
    let check = |change: &dyn Fn(&mut Value), words: &str, expected: &str| {
        let mut config = lab.config("true");
        change(&mut config);
        lab.configure(&config);
        let told = lab.strata(words).fails(1);
        assert!(told.contains(expected), "{told}");
    };
    let create = "create --bundle b box";
    check(&|_| {}, "create --bundle b ../x", "invalid container ID format");
    check(&|_| {}, "create --bundle nowhere box", "cannot open");
    check(&|_| {}, "--systemd-cgroup create --bundle b box", "systemd");
    check(&|_| {}, "create --bundle b --preserve-fds 9 box", "unable to pass fd 3");
    check(&|config| config["linux"]["cgroupsPath"] = json!("/"), create, "is no place for a container");
    check(&|config| config["linux"]["cgroupsPath"] = json!("/a/../.."), create, "is no place for a container");
    check(&|config| config["process"]["cwd"] = json!("tmp"), create, "Cwd must be an absolute path");
    check(&|config| config["process"]["capabilities"]["bounding"] = json!(["CAP_X"]), create, "unknown capability");
    check(&|config| config["root"]["path"] = json!("nowhere"), create, "cannot open the root filesystem");
    check(&|config| config["linux"]["seccomp"] = json!({"defaultAction": "X"}), create, "seccomp");
    check(
        &|config| config["process"]["rlimits"] = json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
        create,
        "wrong rlimit value: RLIMIT_X",
    );
    assert_eq!(lab.machine.sh("ls state 2>/dev/null").out, "", "nothing is remembered");
    let told = lab.strata("nosuch").fails(1);
    assert!(told.contains("Usage:  strata runtime COMMAND"), "{told}");
}

#[test]
fn what_it_can_do_is_a_document() {
    let output = std::process::Command::new(host::strata()).args(["runtime", "features"]).output().unwrap();
    let features: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
    for (pointer, word) in [
        ("/linux/namespaces", "time"),
        ("/linux/capabilities", "CAP_CHECKPOINT_RESTORE"),
        ("/linux/seccomp/operators", "SCMP_CMP_MASKED_EQ"),
        ("/mountOptions", "rro"),
    ] {
        let list = features.pointer(pointer).and_then(Value::as_array).unwrap();
        assert!(list.contains(&json!(word)), "{pointer} {word}");
    }
}
