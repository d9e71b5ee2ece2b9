//! What a container's program can and cannot do and see.

mod support;

use std::os::fd::AsFd as _;

use strata_runtime::spec::*;
use strata_runtime::{Attach, Error, ExecSpec, Status};
use strata_sys::caps::CapSet;
use strata_sys::cgroup::Layout;
use support::strings;

/// Runs a script and gives what it printed on both streams.
fn printed(fixture: &support::Fixture) -> String {
    let (_, out, err) = fixture.run();
    out + &err
}

#[test]
fn it_has_dockers_capabilities_and_no_more() {
    let mut fixture = container!("grep", "Cap", "/proc/self/status");
    let ours = strata_sys::caps::effective().unwrap();
    let expected = |set: CapSet| format!("{:016x}", set.intersection(ours).bits());
    let line = |text: &str, name: &str| text.lines().find(|l| l.starts_with(name)).unwrap()[8..].to_owned();
    let text = printed(&fixture);
    for (name, set) in [("CapPrm", CapSet::DOCKER), ("CapEff", CapSet::DOCKER), ("CapBnd", CapSet::DOCKER)] {
        assert_eq!(line(&text, name), expected(set), "{name}");
    }
    assert_eq!(line(&text, "CapInh"), expected(CapSet::EMPTY));
    fixture.spec.process.user = User { uid: 100, gid: 101, groups: vec![7], umask: Some(0o077) };
    let text = printed(&fixture);
    assert_eq!(line(&text, "CapEff"), expected(CapSet::EMPTY), "an ordinary user has none");
    assert_eq!(line(&text, "CapBnd"), expected(CapSet::DOCKER));
    fixture.spec.process.args = strings(&["sh", "-c", "id; umask; echo x > /dev/stdout"]);
    let text = printed(&fixture);
    assert_eq!(text, "uid=100(app) gid=101(app) groups=7(extra)\n0077\nx\n");
}

#[test]
fn users_are_found_by_name_and_have_a_home() {
    let mut fixture = container!("sh", "-c", "id -u; id -g; echo $HOME");
    fixture.spec.process.named_user = Some(NamedUser { user: "app".to_owned(), groups: Vec::new() });
    assert_eq!(printed(&fixture), "100\n101\n/home/app\n");
}

#[test]
fn the_filter_denies_what_docker_denies() {
    let mut fixture = container!("sh", "-c", "unshare -m true; mount -t tmpfs x /tmp; grep Seccomp: /proc/self/status");
    fixture.spec.process.capabilities = Capabilities::docker(CapSet::DOCKER);
    let text = printed(&fixture);
    assert_eq!(
        text.matches("Operation not permitted").count() + text.matches("permission denied").count(),
        2,
        "{text}"
    );
    assert!(text.contains("Seccomp:\t2"), "{text}");
    fixture.spec.process.seccomp = Seccomp::Unconfined;
    assert!(printed(&fixture).contains("Seccomp:\t0"));
    fixture.spec.process.no_new_privileges = true;
    fixture.spec.process.seccomp = Seccomp::Profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#
            .to_owned(),
    );
    fixture.spec.process.args = strings(&["sh", "-c", "mkdir /tmp/x; grep NoNewPrivs /proc/self/status"]);
    let text = printed(&fixture);
    assert!(text.contains("No space left on device") && text.contains("NoNewPrivs:\t1"), "{text}");
    fixture.spec.process.seccomp = Seccomp::Profile("nonsense".to_owned());
    assert!(fixture.refused().to_string().starts_with("invalid seccomp profile: "));
}

#[test]
fn sensitive_paths_are_hidden_or_cannot_be_written() {
    let mut fixture = container!(
        "sh",
        "-c",
        "wc -c < /proc/version; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/shmmax;\
         mkdir /sys/x; mkdir /sys/fs/cgroup/x; echo done"
    );
    fixture.spec.masked_paths.push("/proc/version".to_owned());
    let text = printed(&fixture);
    assert!(text.starts_with("0\n0\ndone\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 3, "{text}");
}

#[test]
fn a_link_in_the_image_does_not_lead_a_mask_or_mount_outside() {
    let mut fixture = container!("sh", "-c", "cat /data/x; ls /proc/self > /dev/null && echo proc");
    let outside = fixture.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, fixture.root().join("data")).unwrap();
    std::fs::remove_dir(fixture.root().join("dev")).unwrap();
    std::os::unix::fs::symlink("../../../tmp", fixture.root().join("dev")).unwrap();
    let volume = fixture.dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("x"), "volume\n").unwrap();
    fixture.spec.mounts.push(bind(&volume, "/data", true));
    fixture.spec.masked_paths.push("/data/../../../etc/hostname".to_owned());
    assert_eq!(printed(&fixture), "volume\nproc\n");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

fn bind(path: &std::path::Path, target: &str, read_only: bool) -> Mount {
    let source = MountSource::Bind {
        path: path.to_owned(),
        recursive: true,
        propagation: Propagation::Private,
        writable_below: false,
        subpath: None,
    };
    Mount { target: target.to_owned(), source, read_only, exec: true }
}

#[test]
fn mounts_are_what_was_asked_for() {
    let mut fixture = container!(
        "sh",
        "-c",
        "cat /etc/hosts; echo x > /ro/y; echo z > /rw/z; stat -f -c %T /mem; stat -c %a /mem; echo x > /x; \
         stat -f -c '%S %b' /dev/shm; hostname; pwd"
    );
    let dir = fixture.dir.path().to_owned();
    std::fs::write(dir.join("hosts"), "127.0.0.1 box\n").unwrap();
    std::fs::create_dir(dir.join("ro")).unwrap();
    std::fs::create_dir(dir.join("rw")).unwrap();
    fixture.spec.mounts = vec![
        bind(&dir.join("hosts"), "/etc/hosts", false),
        bind(&dir.join("ro"), "/ro", true),
        bind(&dir.join("rw"), "/rw", false),
        Mount {
            target: "/mem".to_owned(),
            source: MountSource::Tmpfs { size_bytes: Some(1 << 20), mode: Some(0o1770), options: Vec::new() },
            read_only: false,
            exec: false,
        },
    ];
    fixture.spec.read_only = true;
    fixture.spec.shm_size_bytes = 8 << 20;
    fixture.spec.process.cwd = "/tmp".to_owned();
    let text = printed(&fixture);
    assert!(text.starts_with("127.0.0.1 box\ntmpfs\n1770\n4096 2048\nbox\n/tmp\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert_eq!(std::fs::read_to_string(dir.join("rw/z")).unwrap(), "z\n");
}

#[test]
fn the_working_directory_is_made() {
    let mut fixture = container!("pwd");
    fixture.spec.process.cwd = "/new/dir".to_owned();
    assert_eq!(printed(&fixture), "/new/dir\n");
    fixture.spec.process.cwd = "/bin/sh".to_owned();
    assert!(fixture.refused().to_string().contains("`/bin/sh`"));
}

#[test]
fn no_descriptor_leaks_in() {
    let fixture = container!("sh", "-c", "ls /proc/self/fd");
    // 3 is the directory that `ls` reads.
    assert_eq!(printed(&fixture), "0\n1\n2\n3\n");
    let fixture = {
        drop(fixture);
        container!("sleep", "1000")
    };
    fixture.start();
    assert_eq!(fixture.exec(&["sh", "-c", "ls /proc/self/fd"]).1, "0\n1\n2\n3\n");
}

#[test]
fn limits_are_in_force_and_visible() {
    if Layout::probe() != Layout::V1 {
        println!("skipped: needs version 1 control groups");
        return;
    }
    let mut fixture = container!(
        "sh",
        "-c",
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.shares; \
         ulimit -n; cat /proc/self/oom_score_adj"
    );
    fixture.spec.limits = Limits {
        memory_bytes: Some(64 << 20),
        pids: Some(50),
        cpu_quota_us: Some(50_000),
        cpu_shares: Some(512),
        ..Limits::default()
    };
    fixture.spec.process.rlimits = vec![Rlimit { name: "nofile".to_owned(), soft: 64, hard: 128 }];
    fixture.spec.process.oom_score_adj = Some(500);
    assert_eq!(printed(&fixture), "67108864\n50\n50000\n512\n64\n500\n");
}

#[test]
fn what_takes_too_much_memory_is_killed_and_that_is_said() {
    if Layout::probe() == Layout::None {
        println!("skipped: needs control groups");
        return;
    }
    let mut fixture = container!("sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1; exit $?");
    fixture.spec.limits.memory_bytes = Some(32 << 20);
    fixture.spec.limits.memory_swap_bytes = Some(32 << 20);
    let (code, ..) = fixture.run();
    assert_eq!(code, 137);
    assert!(fixture.container.state().unwrap().oom_killed);
}

#[test]
fn only_allowed_devices_open() {
    if Layout::probe() == Layout::None {
        println!("skipped: needs control groups");
        return;
    }
    let Ok(fuse) = rustix::fs::stat("/dev/fuse") else {
        println!("skipped: needs /dev/fuse");
        return;
    };
    let mut fixture = container!("sh", "-c", "head -c 1 /dev/zero | wc -c; exec 5<>/dev/extra && echo opened");
    fixture.spec.devices = vec![DeviceNode {
        path: "/dev/extra".to_owned(),
        block: false,
        major: rustix::fs::major(fuse.st_rdev),
        minor: rustix::fs::minor(fuse.st_rdev),
        mode: 0o666,
        uid: 0,
        gid: 0,
    }];
    let text = printed(&fixture);
    assert!(text.starts_with("1\n") && text.contains("Operation not permitted"), "{text}");
    fixture.spec.device_rules = DeviceRules::Everything;
    assert_eq!(printed(&fixture), "1\nopened\n");
}

#[test]
fn kernel_settings_concern_the_container_only() {
    let mut fixture =
        container!("cat", "/proc/sys/kernel/shm_rmid_forced", "/proc/sys/net/ipv4/ip_unprivileged_port_start");
    fixture.spec.sysctls.insert("kernel.shm_rmid_forced".to_owned(), "1".to_owned());
    fixture.spec.sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    assert_eq!(printed(&fixture), "1\n0\n");
    fixture.spec.sysctls.insert("kernel.nosuch".to_owned(), "1".to_owned());
    assert!(fixture.refused().to_string().contains("kernel.nosuch"));
}

#[test]
fn loopback_works_without_a_network() {
    let fixture = container!("sh", "-c", "ping -c 1 -W 5 127.0.0.1 > /dev/null && echo up; ls /sys/class/net");
    assert_eq!(printed(&fixture), "up\nlo\n");
}

#[test]
fn a_process_that_joins_is_confined_like_the_first() {
    let fixture = container!("sleep", "1000");
    fixture.start();
    let first = fixture.container.state().unwrap();
    let script =
        "cat /proc/self/cgroup; grep -E 'CapEff|Seccomp:' /proc/self/status; hostname; cat /proc/1/cmdline; exit 9";
    let (code, text) = fixture.exec(&["sh", "-c", script]);
    assert_eq!(code, 9, "{text}");
    let ours = std::fs::read_to_string(format!("/proc/{}/cgroup", first.pid)).unwrap();
    if Layout::probe() == Layout::V1 {
        assert!(text.starts_with(&ours), "{text}\n{ours}");
    }
    assert!(text.contains("Seccomp:\t2") && text.contains("box\nsleep\x001000\x00"), "{text}");
    assert_eq!(fixture.exec(&["sh", "-c", "tty"]).0, 1);
    assert_eq!(fixture.container.state().unwrap().status, Status::Running);
}

#[test]
fn joining_fails_in_words() {
    let fixture = container!("sleep", "1000");
    fixture.start();
    let mut process = fixture.spec.process.clone();
    process.args = strings(&["nosuch"]);
    let error =
        fixture.container.exec(&ExecSpec { id: String::new(), process: process.clone() }, None).map(drop).unwrap_err();
    assert!(matches!(&error, Error::ProgramMissing(text) if text.contains("\"nosuch\"")), "{error}");
    process.args = strings(&["true"]);
    process.cwd = "/nosuch".to_owned();
    let error =
        fixture.container.exec(&ExecSpec { id: String::new(), process: process.clone() }, None).map(drop).unwrap_err();
    assert!(error.to_string().contains("/nosuch"), "{error}");
    fixture.container.pause().unwrap();
    assert!(matches!(
        fixture.container.exec(&ExecSpec { id: String::new(), process }, None).map(drop),
        Err(Error::Paused(_))
    ));
}

#[test]
fn a_joining_process_may_have_a_terminal_and_outlives_its_client() {
    let fixture = container!("sleep", "1000");
    fixture.start();
    let mut process = fixture.spec.process.clone();
    process.args = strings(&["sh", "-c", "tty; stty size; read x; echo $x > /tmp/x; sleep 1000"]);
    process.tty = true;
    process.stdin = Stdin::Open;
    process.terminal_size = Some(TerminalSize { rows: 5, columns: 6 });
    let (read_in, write_in) = std::io::pipe().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let attach = Attach { stdin: Some(read_in.as_fd()), stdout: Some(write.as_fd()), ..Attach::default() };
    let started = fixture.container.exec(&ExecSpec { id: String::new(), process }, Some(attach)).unwrap();
    let text = support::read_until(&read.into(), "5 6");
    assert!(text.contains("/dev/pts/0"), "{text}");
    rustix::io::write(&write_in, b"hello\n").unwrap();
    let wait = fixture.exec(&["sh", "-c", "while ! grep -q hello /tmp/x; do sleep 0.02; done"]);
    assert_eq!(wait.0, 0, "{}", wait.1);
    drop(started.session);
    assert!(fixture.container.pids().unwrap().contains(&started.pid), "it lives on");
}
