//! The same container made by crun: what its process sees of itself must be the same.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use strata_runtime::Spec;
use strata_sys::caps::Capability;

const SCRIPT: &str = "grep -E 'Cap|NoNewPrivs|^Uid|^Gid|^Groups' /proc/self/status; cat /proc/self/mountinfo; \
                      ls -l /dev | sed 's/ [A-Z][a-z][a-z] .*[0-9:]* / /'; ulimit -n; umask; env; pwd";

#[test]
fn a_process_sees_of_itself_what_it_sees_under_crun() {
    if Command::new("crun").arg("--version").output().is_err() {
        println!("skipped: needs crun");
        return;
    }
    let mut fixture = container!("sh", "-c", SCRIPT);
    fixture.spec.process.user.groups = vec![7];
    fixture.spec.process.rlimits =
        vec![strata_runtime::spec::Rlimit { name: "nofile".to_owned(), soft: 512, hard: 1024 }];
    fixture.spec.process.seccomp = strata_runtime::spec::Seccomp::Unconfined;
    fixture.spec.process.env.push("HOME=/root".to_owned());
    fixture.spec.hostname = Some("box".to_owned());
    let (_, ours, _) = fixture.run();
    let bundle = fixture.dir.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    std::fs::write(bundle.join("config.json"), config(&fixture.spec, &fixture.root()).to_string()).unwrap();
    let Some(theirs) = crun(&bundle) else {
        println!("skipped: crun does not run here");
        return;
    };
    assert_eq!(mounts(&ours), mounts(&theirs));
    assert_eq!(rest(&ours), rest(&theirs));
}

/// Runs a bundle where crun finds control groups as it likes them; what the process printed.
fn crun(bundle: &Path) -> Option<String> {
    let script = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; \
                  exec crun --root \"$0/state\" --cgroup-manager=disabled run -b \"$0\" strata-oracle-$$";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(bundle)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// The same specification in OCI's words.
fn config(spec: &Spec, root: &Path) -> Value {
    let caps: Vec<_> = spec.process.capabilities.bounding.iter().map(Capability::name).collect();
    let standing = ["nosuid", "noexec", "nodev"];
    let mount = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
    let namespaces = ["mount", "pid", "ipc", "uts", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": root, "readonly": false},
        "hostname": spec.hostname,
        "process": {
            "terminal": false, "cwd": "/", "args": spec.process.args, "env": spec.process.env,
            "user": {"uid": 0, "gid": 0, "additionalGids": spec.process.user.groups},
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024}],
        },
        "mounts": [
            mount("/proc", "proc", &standing),
            mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &standing),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": spec.masked_paths,
            "readonlyPaths": spec.readonly_paths,
        },
    })
}

/// Mount points, with the options of each mount, its filesystem's kind and its root; ids and devices differ.
fn mounts(text: &str) -> BTreeMap<String, String> {
    let of_mount = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = words.iter().position(|word| *word == "-").and_then(|dash| words.get(dash + 1))?;
        let options = words[5].replace("rw,", "").replace("ro,", "read-only,");
        Some((words[4].to_owned(), format!("{} {options} {kind}", words[3])))
    };
    let all = text.lines().filter_map(of_mount);
    // A hidden file is a read-only view of /dev/null there and a writable one here: it is a device, nothing is stored.
    // What may not be written below /proc keeps /proc's other restrictions here, as under runc; crun drops them.
    let same = |(target, text): (String, String)| match text.strip_prefix("/null ") {
        Some(_) => (target, "/null".to_owned()),
        None if target.starts_with("/proc/") => (target, text.replace("nosuid,nodev,noexec,", "")),
        None => (target, text),
    };
    // Each has its own root and control groups.
    all.filter(|(target, _)| target != "/" && !target.starts_with("/sys/fs/cgroup")).map(same).collect()
}

/// Everything else.
fn rest(text: &str) -> Vec<&str> {
    let is_mount = |line: &&str| line.contains(" - ");
    // crun links /dev/core to a /proc/kcore that the kernel may not have.
    let differs = |line: &&str| {
        ["total", "Shm"].iter().any(|head| line.starts_with(head))
            || line.contains("console")
            || line.contains("/proc/kcore")
    };
    text.lines().filter(|line| !is_mount(line) && !differs(line)).collect()
}
