//! Snapshots of containers' files: taken, gone back to, forked, committed and removed, by the program as people call it.
#![allow(clippy::unwrap_used, reason = "tests")]

use strata_sys::failpoint;
use strata_testkit::image::Image;
use strata_testkit::{Machine, host, need};

/// A machine whose store uses a driver, with the image `base`.
fn machine(driver: &str) -> Machine {
    let machine = Machine::start();
    let archive = Image::busybox().docker_archive("base:latest");
    machine.strata_with_input(["--storage-driver", driver, "load"], &archive).ok();
    machine
}

/// Starts a container that writes `/root/start` anew each time and then lives on.
fn start(machine: &Machine, name: &str) {
    let script = "echo started >>/root/start; exec sleep 1000";
    machine.strata(["run", "-d", "--name", name, "--network", "none", "base", "sh", "-c", script]).ok();
    wait_for(machine, name, "test -s /root/start");
}

/// Waits until a script succeeds in a container.
fn wait_for(machine: &Machine, name: &str, script: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while machine.strata(["exec", name, "sh", "-c", script]).code != 0 {
        assert!(std::time::Instant::now() < deadline, "`{script}` never held in {name}");
    }
}

fn sh(machine: &Machine, name: &str, script: &str) -> String {
    machine.strata(["exec", name, "sh", "-c", script]).ok()
}

macro_rules! need_all {
    () => {
        need!(host::root(), host::program("busybox"))
    };
}

/// Everything a layer has to say: new, changed, gone, replaced, linked, large.
const CHANGE: &str = "cd /root; echo 1 >new; rm /etc/group; chmod 700 /home; rm -r /var; mkdir -p /var/only; ln new hard; \
    ln -s new soft; mkfifo pipe; head -c 200000 /dev/zero >large; echo end >>large";
/// What can be seen of that.
const SEEN: &str = "cd /root; cat new hard soft; ls -l pipe | cut -c1; stat -c '%h %s' new large; tail -c 4 large; \
    ls /etc/group 2>&1; stat -c %a /home; ls /var";
const EXPECTED: &str = "1\n1\n1\np\n2 2\n1 200004\nend\nls: /etc/group: No such file or directory\n700\nonly\n";

fn there_and_back(driver: &str) {
    let machine = machine(driver);
    start(&machine, "web");
    sh(&machine, "web", CHANGE);
    assert_eq!(machine.strata(["snapshot", "web", "changed"]).ok(), "web:changed\n");
    assert_eq!(sh(&machine, "web", SEEN), EXPECTED, "{driver}: it goes on as it was");
    sh(&machine, "web", "rm -r /root/large /root/new /var; echo x >/etc/group; chmod 755 /home; echo >/after");
    assert_eq!(machine.strata(["rollback", "web", "changed"]).ok(), "web\n");
    wait_for(&machine, "web", "test $(wc -l </root/start) = 2");
    assert_eq!(sh(&machine, "web", SEEN), EXPECTED, "{driver}");
    assert_eq!(machine.strata(["exec", "web", "ls", "/after"]).code, 1);
    // Once more, on top of that: a snapshot holds what changed since the one below it.
    sh(&machine, "web", "echo more >/more; rm /root/soft");
    machine.strata(["snapshot", "web"]).ok();
    machine.strata(["rollback", "web", "changed"]).ok();
    assert_eq!(machine.strata(["exec", "web", "ls", "/more"]).code, 1);
    machine.strata(["stop", "-t", "0", "web"]).ok();
    machine.strata(["rollback", "--start", "web", "s1"]).ok();
    assert_eq!(
        sh(&machine, "web", "cat /more; ls /root/soft 2>&1; cat /root/hard"),
        "more\nls: /root/soft: No such file or directory\n1\n"
    );
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
}

#[test]
fn erofs_goes_there_and_back() {
    need_all!();
    there_and_back("erofs");
}

#[test]
fn overlay_goes_there_and_back() {
    need_all!();
    there_and_back("overlay");
}

#[test]
fn vfs_goes_there_and_back() {
    need_all!();
    there_and_back("vfs");
}

#[test]
fn forks_begin_alike_and_part() {
    need_all!();
    let machine = machine("erofs");
    start(&machine, "web");
    sh(&machine, "web", "echo common >/common");
    assert_eq!(machine.strata(["fork", "web", "one", "two"]).ok(), "one\ntwo\n");
    for name in ["one", "two"] {
        assert_eq!(sh(&machine, name, "cat /common"), "common\n");
        sh(&machine, name, &format!("echo {name} >/own"));
    }
    assert_eq!(sh(&machine, "one", "cat /own") + &sh(&machine, "two", "cat /own"), "one\ntwo\n");
    assert_eq!(machine.strata(["exec", "web", "ls", "/own"]).code, 1, "the origin does not see it");
    let [first, second] = ["one", "two"].map(|name| sh(&machine, name, "hostname"));
    assert_ne!(first, second);
    assert_eq!(machine.strata(["fork", "--no-start", "web:s1", "later"]).ok(), "later\n");
    assert_eq!(machine.strata(["ps", "-aq", "-f", "status=created"]).ok().lines().count(), 1);
    let names = "{{.Name}}|{{.Forks}}|{{.Current}}";
    assert_eq!(machine.strata(["snapshot", "ls", "--format", names]).ok(), "web:s1|later,one,two|true\n");
    machine.strata(["snapshot", "one"]).ok();
    assert_eq!(machine.strata(["snapshot", "inspect", "-f", "{{.Parent}}", "one:s1"]).ok(), "web:s1\n");
    let error = machine.strata(["fork", "web:s1", "three", "one"]).fails(1);
    assert!(error.contains("\"/one\" is already in use"), "{error}");
    assert_eq!(machine.strata(["inspect", "three"]).code, 1, "all or none");
}

#[test]
fn a_snapshot_becomes_an_image_and_so_does_a_fork() {
    need_all!();
    let machine = machine("erofs");
    start(&machine, "web");
    sh(&machine, "web", "echo 1 >/one");
    machine.strata(["snapshot", "web", "one"]).ok();
    sh(&machine, "web", "echo 2 >/two");
    machine.strata(["commit", "--from", "web:one", "-c", "CMD [\"ls\", \"/one\", \"/two\"]", "made:1"]).ok();
    let ran = machine.strata(["run", "--rm", "--network", "none", "made:1"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "/one\n"));
    machine.strata(["fork", "web:one", "fork"]).ok();
    sh(&machine, "fork", "echo 3 >/three");
    machine.strata(["commit", "fork", "made:2"]).ok();
    let ran = machine.strata(["run", "--rm", "--network", "none", "made:2", "cat", "/one", "/three"]);
    assert_eq!(ran.ok(), "1\n3\n");
    let layers = |image: &str| machine.strata(["inspect", "-f", "{{len .RootFS.Layers}}", image]).ok();
    assert_eq!((layers("made:1"), layers("made:2")), ("2\n".to_owned(), "3\n".to_owned()));
    // Images and forks stand by themselves.
    machine.strata(["rm", "-f", "web", "fork"]).ok();
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "made:2", "cat", "/one"]).ok(), "1\n");
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
}

#[test]
fn snapshots_go_with_their_container_and_layers_with_the_last_who_needs_them() {
    need_all!();
    let machine = machine("erofs");
    let layers = || std::fs::read_dir(machine.root().join("layers/erofs")).unwrap().count();
    start(&machine, "web");
    sh(&machine, "web", "echo 1 >/one");
    machine.strata(["snapshot", "web", "one"]).ok();
    machine.strata(["fork", "web:one", "fork"]).ok();
    sh(&machine, "web", "echo 2 >/two");
    machine.strata(["snapshot", "web", "two"]).ok();
    assert_eq!(layers(), 3);
    let df = machine.strata(["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]).ok();
    assert!(df.contains("Snapshots 2 2\n"), "{df}");
    assert_eq!(
        machine.strata(["snapshot", "rm", "web:two", "web:nosuch"]).fails(1),
        "strata: No such snapshot: web:nosuch\n"
    );
    assert_eq!(layers(), 2);
    machine.strata(["rm", "-f", "web"]).ok();
    assert_eq!(machine.strata(["snapshot", "ls", "-q"]).ok(), "");
    assert_eq!(sh(&machine, "fork", "cat /one"), "1\n");
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
    machine.strata(["rm", "-f", "fork"]).ok();
    assert_eq!(layers(), 1, "only the image's is left");
}

#[test]
fn a_container_may_be_called_as_a_verb_is() {
    need_all!();
    let machine = machine("erofs");
    machine.strata(["create", "--name", "ls", "base"]).ok();
    assert_eq!(machine.strata(["snapshot", "create", "ls"]).ok(), "ls:s1\n");
    assert_eq!(machine.strata(["snapshot", "-m", "why", "--", "ls", "b"]).ok(), "ls:b\n");
    let tree = machine.strata(["snapshot", "ls", "--format", "{{.Tree}} {{.Comment}}"]).ok();
    assert_eq!(tree, "ls:s1 \n└─ ls:b * why\n");
    assert_eq!(machine.strata(["snapshot", "nosuch"]).fails(1), "strata: No such container: nosuch\n");
    assert_eq!(machine.strata(["snapshot", "ls", "nosuch"]).fails(1), "strata: No such container: nosuch\n");
    assert_eq!(machine.strata(["rollback", "ls", "nosuch"]).fails(1), "strata: No such snapshot: nosuch\n");
    let bad = machine.strata(["snapshot", "create", "ls", "a/b"]).fails(1);
    assert_eq!(bad, "strata: Invalid snapshot name (a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed\n");
}

#[test]
fn a_container_goes_on_when_who_froze_it_is_killed() {
    need_all!();
    let machine = machine("erofs");
    let script = "i=0; while :; do i=$((i+1)); echo $i >/root/count; sleep 0.01; done";
    machine.strata(["run", "-d", "--name", "web", "--network", "none", "base", "sh", "-c", script]).ok();
    let mut command = machine.strata_command(["snapshot", "web"]);
    let killed = command.env(failpoint::VARIABLE, "engine.snapshot.frozen").output().unwrap();
    assert!(!killed.status.success());
    // The shim hears of it when the connection ends.
    wait_for(&machine, "web", "true");
    let count = |machine: &Machine| sh(machine, "web", "cat /root/count");
    let before = count(&machine);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while count(&machine) == before {
        assert!(std::time::Instant::now() < deadline, "it stands still");
    }
    assert_eq!(machine.strata(["snapshot", "web"]).ok(), "web:s1\n");
}

#[test]
fn a_paused_container_stays_paused() {
    need_all!();
    let machine = machine("erofs");
    start(&machine, "web");
    machine.strata(["pause", "web"]).ok();
    assert_eq!(machine.strata(["snapshot", "web"]).ok(), "web:s1\n");
    assert_eq!(machine.strata(["ps", "-q", "-f", "status=paused"]).ok().lines().count(), 1);
    machine.strata(["rollback", "web", "s1"]).ok();
    assert_eq!(sh(&machine, "web", "cat /root/start | head -n 1"), "started\n");
}
