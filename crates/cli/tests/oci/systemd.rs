//! Control groups that systemd makes. The systemd is one of a person's kind, so that it need not be the machine's first
//! process; we find it where the machine's would be.

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use strata_testkit::machine::Ran;
use strata_testkit::{host, need};

use crate::bundle::Lab;

/// A machine with control groups of version 2 alone and a systemd below one of them.
struct Managed {
    lab: Lab,
    systemd: Option<Child>,
}

/// Units without which it does not start, and where everything is.
const PREPARE: &str = "umount -l -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && mkdir -p /run/user/0 /run/units /run/systemd/system && \
     for t in default shutdown exit basic; do \
     printf '[Unit]\\nDescription=%s\\nDefaultDependencies=no\\n' $t >/run/units/$t.target; done";
const ENVIRONMENT: &str = "XDG_RUNTIME_DIR=/run/user/0 SYSTEMD_UNIT_PATH=/run/units \
                           DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/nobody;unix:path=/run/user/0/systemd/private";

impl Managed {
    fn start() -> Result<Self, String> {
        let lab = Lab::start();
        lab.machine.sh(PREPARE).ok();
        let begin = format!(
            "mkdir -p /sys/fs/cgroup{0}/manager && echo $$ >/sys/fs/cgroup{0}/manager/cgroup.procs && \
             exec $(ls /lib/systemd/systemd /usr/lib/systemd/systemd 2>/dev/null | head -n 1) --user",
            lab.cgroup()
        );
        let mut command = lab.machine.command("sh");
        command.args(["-c", &begin]).envs(environment()).env("SYSTEMD_LOG_TARGET", "console");
        let mut systemd = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while lab.machine.sh("test -S /run/user/0/systemd/private").code != 0 {
            if systemd.try_wait().unwrap().is_some() {
                return Err("a systemd that starts".to_owned());
            }
            std::thread::yield_now();
        }
        Ok(Self { lab, systemd: Some(systemd) })
    }

    /// Where its units' control groups begin.
    fn root(&self) -> String {
        format!("{}/manager", self.lab.cgroup())
    }

    /// Runs a command of ours whose control groups are systemd's.
    fn strata(&self, line: &str) -> Ran {
        let mut command = self.lab.machine.command(host::strata());
        command.args(["runtime", "--root", "state", "--systemd-cgroup"]).args(line.split(' ')).envs(environment());
        let path = |name: &str| self.lab.machine.dir().join(name);
        let file = |name: &str| std::fs::File::create(path(name)).unwrap();
        let status = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).status().unwrap();
        let text = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        Ran { code: status.code().unwrap_or(-1), out: text("out"), err: text("err") }
    }

    fn systemctl(&self, words: &[&str]) -> Ran {
        let mut command = self.lab.machine.command("systemctl");
        command.arg("--user").args(words).envs(environment()).env("SYSTEMD_IGNORE_CHROOT", "1").output().unwrap().into()
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        if let Some(mut systemd) = self.systemd.take() {
            systemd.kill().unwrap();
            systemd.wait().unwrap();
            // What it had started ends a moment later.
            let tree = format!("/sys/fs/cgroup{}", self.lab.cgroup());
            let remove = format!("find {tree} -depth -type d -exec rmdir '{{}}' ';' 2>/dev/null");
            let again = format!("for try in $(seq 1000); do {remove}; [ -d {tree} ] || break; done");
            self.lab.machine.sh(&format!("echo 1 2>/dev/null >{tree}/cgroup.kill; {again}"));
        }
    }
}

fn environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    ENVIRONMENT.split_ascii_whitespace().filter_map(|pair| pair.split_once('='))
}

fn config(lab: &Lab, path: &str) -> Value {
    let mut config = lab.config("sleep 1000");
    config["linux"]["cgroupsPath"] = json!(path);
    // podman says so in any case; here is nothing that could limit.
    config["linux"]["resources"]["pids"] = json!({"limit": -1});
    config
}

#[test]
fn containers_are_units_of_systemd() {
    need!(host::root(), host::program("busybox"), host::program("systemctl"), host::program("ip"));
    let managed = match Managed::start() {
        Ok(managed) => managed,
        Err(what) => return host::skipped(module_path!(), &what),
    };
    let lab = &managed.lab;
    lab.configure(&config(lab, "machine-own.slice:mine:box"));
    let group = format!("{}/machine.slice/machine-own.slice/mine-box.scope", managed.root());
    // The second comes right after the first, under its name.
    for _ in 0..2 {
        managed.strata("create --bundle b box").ok();
        let state: Value = serde_json::from_str(&managed.strata("state box").ok()).unwrap();
        let shown =
            managed.systemctl(&["show", "mine-box.scope", "-p", "ActiveState,Delegate,Description,Slice,ControlGroup"]);
        let mut lines: Vec<&str> = shown.out.lines().collect();
        lines.sort_unstable();
        let expected = format!(
            "ActiveState=active ControlGroup={group} Delegate=yes Description=strata container box Slice=machine-own.slice"
        );
        assert_eq!(lines.join(" "), expected, "{shown:?}");
        managed.strata("start box").ok();
        // A further process is in it, too, and it is all that is.
        let joined = managed.strata("exec box grep ^0:: /proc/self/cgroup").ok();
        assert_eq!(joined, format!("0::{group}\n"));
        assert_eq!(
            lab.machine.sh(&format!("cat /sys/fs/cgroup{group}/cgroup.procs")).ok(),
            format!("{}\n", state["pid"])
        );
        managed.strata("pause box").ok();
        managed.strata("resume box").ok();
        managed.strata("kill box KILL").ok();
        while !managed.strata("state box").ok().contains("stopped") {
            std::thread::yield_now();
        }
        managed.strata("delete box").ok();
        assert_eq!(managed.systemctl(&["is-active", "mine-box.scope"]).out, "inactive\n");
        assert_eq!(lab.machine.sh(&format!("ls -d /sys/fs/cgroup{group} 2>/dev/null")).out, "", "nothing stays");
    }
    lab.configure(&config(lab, "/mine/box"));
    let told = managed.strata("create --bundle b box").fails(1);
    assert!(told.contains("expected cgroupsPath to be of format \\\"slice:prefix:name\\\""), "{told}");
}

/// A bus that knows of no systemd: what is said to it is well-formed all the same, or it would hang up.
#[test]
fn a_bus_is_spoken_to_in_its_language() {
    need!(host::root(), host::program("busybox"), host::program("dbus-daemon"), host::program("ip"));
    let lab = Lab::start();
    lab.machine.sh("umount -l -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup").ok();
    lab.configure(&config(&lab, "machine.slice:mine:box"));
    let socket = lab.machine.dir().join("bus");
    let address = format!("unix:path={}", socket.display());
    let mut command = lab.machine.command("dbus-daemon");
    command.args(["--session", "--nofork", "--address", &address]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut bus = command.spawn().unwrap();
    while lab.machine.sh("test -S bus").code != 0 {
        std::thread::yield_now();
    }
    let mut command = lab.machine.command(host::strata());
    command.args(["runtime", "--root", "state", "--systemd-cgroup", "create", "--bundle", "b", "box"]);
    let told = Ran::from(command.env("DBUS_SYSTEM_BUS_ADDRESS", &address).output().unwrap()).fails(1);
    bus.kill().unwrap();
    bus.wait().unwrap();
    // It would start one, but there is nothing to start.
    assert!(told.contains("cannot ask systemd for its control group: "), "{told}");
    assert!(told.contains("org.freedesktop.systemd1") && told.contains("(org.freedesktop.DBus.Error."), "{told}");
}
