//! Life without a daemon: restarts, health, and what a reboot or a kill leaves.

use std::path::PathBuf;
use std::process::Stdio;

use strata_testkit::{Machine, need};

use super::{Lab, needs};

impl Lab {
    /// `run -d --network none LINE -- sh -c SCRIPT`.
    fn background(&self, options: &str, script: &str) -> String {
        let options = options.split(' ').filter(|word| !word.is_empty());
        let words: Vec<&str> = ["run", "-d", "--network", "none"].into_iter().chain(options).collect();
        self.machine.strata([words.as_slice(), &["box", "sh", "-c", script]].concat()).ok().trim().to_owned()
    }

    fn state_file(&self, id: &str) -> PathBuf {
        self.machine.root().join("containers").join(id).join("state.json")
    }

    fn state(&self, id: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.state_file(id)).unwrap()).unwrap()
    }

    fn field(&self, name: &str, format: &str) -> String {
        self.machine.strata(["inspect", "-f", format, name]).ok().trim().to_owned()
    }

    /// What is left when the power fails under a running container: no processes, no run directory, another boot.
    fn cut_power(&self, ids: &[&str]) {
        for id in ids {
            let before = self.state(id);
            self.machine.sh(&format!("kill -9 {}", before["shim_pid"])).ok();
            self.until("ps -a --format {{.ID}}={{.State}}", |out| out.contains(&format!("{}=dead", &id[..12])));
            let mut after = before;
            after["boot_id"] = "another".into();
            std::fs::write(self.state_file(id), after.to_string()).unwrap();
        }
        self.machine.sh("rm -rf /run/strata/*/c /run/strata/*/events*").ok();
    }
}

const SLEEP: &str = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done";

#[test]
fn on_failure_runs_so_often_and_then_ends() {
    need!(needs());
    let lab = Lab::start();
    lab.background("--name failing --restart on-failure:2", "echo run; exit 3");
    lab.until("inspect -f {{.State.Status}} failing", |out| out == "exited\n");
    assert_eq!(lab.field("failing", "{{.RestartCount}} {{.State.ExitCode}} {{.State.Restarting}}"), "2 3 false");
    assert_eq!(lab.strata("logs failing").ok(), "run\nrun\nrun\n");
    // A success is no reason to go on.
    lab.background("--name fine --restart on-failure", "echo run");
    lab.until("inspect -f {{.State.Status}} fine", |out| out == "exited\n");
    assert_eq!(lab.field("fine", "{{.RestartCount}} {{.State.ExitCode}}"), "0 0");
    let events = lab.machine.strata(["events", "--since", "1h", "--until", "0s", "-f", "container=failing"]).ok();
    let acts: Vec<&str> = events.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(acts, ["create", "start", "die", "start", "die", "start", "die"]);
    assert!(
        events.lines().last().unwrap().ends_with("(execDuration=0, exitCode=3, image=box, name=failing)"),
        "{events}"
    );
    lab.strata("rm failing fine").ok();
    lab.is_clean();
}

#[test]
fn always_goes_on_until_a_person_ends_it() {
    need!(needs());
    let lab = Lab::start();
    lab.background("--name loop --restart always", "exit 5");
    lab.until("ps --format {{.Status}}", |out| out.starts_with("Restarting (5) "));
    lab.until("ps -q --filter status=restarting", |out| out.len() == 13);
    // It runs for a moment now and then: what is said between is what is meant.
    for (line, sentence) in [
        ("exec loop true", "is restarting, wait until the container is running"),
        ("rm loop", "container is restarting: stop the container before removing"),
        ("attach loop", "You cannot attach to a restarting container, wait until it is running"),
    ] {
        let asked = std::time::Instant::now();
        while !lab.strata(line).err.contains(sentence) {
            assert!(asked.elapsed() < super::PATIENCE, "{line}");
        }
    }
    assert_eq!(lab.strata("wait loop").ok(), "5\n");
    lab.until("inspect -f {{.RestartCount}} loop", |out| out.trim().parse::<u32>().unwrap() >= 2);
    lab.strata("stop loop").ok();
    assert_eq!(lab.field("loop", "{{.State.Status}} {{.State.ExitCode}}"), "exited 5");
    // A person starts it anew: the count begins again, and `kill` ends it too.
    lab.strata("start loop").ok();
    lab.until("ps --format {{.Status}}", |out| out.starts_with("Restarting (5) "));
    lab.strata("kill loop").ok();
    lab.until("inspect -f {{.State.Status}} loop", |out| out == "exited\n");
    lab.strata("rm loop").ok();
    lab.background("--name busy --restart always", SLEEP);
    lab.until("logs busy", |out| out == "up\n");
    lab.strata("kill -s TERM busy").ok();
    lab.until("inspect -f {{.State.Status}} busy", |out| out == "exited\n");
    assert_eq!(lab.field("busy", "{{.RestartCount}} {{.State.ExitCode}}"), "0 7");
    // What dies by itself comes back, as another process.
    lab.strata("start busy").ok();
    let first = lab.field("busy", "{{.State.Pid}}");
    lab.machine.sh(&format!("kill -9 {first}")).ok();
    lab.until("inspect -f {{.RestartCount}}:{{.State.Status}} busy", |out| out == "1:running\n");
    assert_ne!(lab.field("busy", "{{.State.Pid}}"), first);
    assert_eq!(lab.strata("exec busy echo in").ok(), "in\n");
    lab.strata("restart -t 5 busy").ok();
    assert_eq!(lab.field("busy", "{{.RestartCount}} {{.State.Status}}"), "0 running");
    lab.strata("rm -f busy").ok();
    lab.is_clean();
}

#[test]
fn a_client_in_front_hears_the_end_of_its_run() {
    need!(needs());
    let lab = Lab::start();
    let ran = lab.machine.strata([
        "run",
        "--network",
        "none",
        "--name",
        "again",
        "--restart",
        "on-failure:1",
        "box",
        "sh",
        "-c",
        "echo out; exit 4",
    ]);
    assert_eq!((ran.code, ran.out.as_str()), (4, "out\n"));
    lab.until("inspect -f {{.RestartCount}}:{{.State.Status}} again", |out| out == "1:exited\n");
    assert_eq!(lab.strata("logs again").ok(), "out\nout\n");
    lab.strata("rm again").ok();
    lab.is_clean();
}

#[test]
fn a_container_is_asked_for_its_health() {
    need!(needs());
    let lab = Lab::start();
    let checks = "--health-interval 50ms --health-timeout 10s --health-retries 2";
    let options = format!("--name sick {checks} --health-cmd");
    let words: Vec<&str> = ["run", "-d", "--network", "none"].into_iter().chain(options.split(' ')).collect();
    let check = "echo said; test -e /well";
    lab.machine.strata([words.as_slice(), &[check, "box", "sh", "-c", SLEEP]].concat()).ok();
    lab.until("ps --format {{.Status}}", |out| out.ends_with("(unhealthy)\n"));
    assert_eq!(lab.strata("ps -q --filter health=unhealthy").ok().len(), 13);
    assert_eq!(lab.strata("ps -q --filter health=healthy").ok(), "");
    lab.strata("exec sick touch /well").ok();
    lab.until("ps --format {{.Status}}", |out| out.ends_with("(healthy)\n"));
    assert_eq!(lab.field("sick", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "healthy 0");
    while lab.field("sick", "{{len .State.Health.Log}}") != "5" {
        std::thread::yield_now();
    }
    let last = lab.field("sick", "{{with index .State.Health.Log 4}}{{.ExitCode}} {{.Output}}{{end}}");
    assert_eq!(last, "0 said");
    lab.strata("stop sick").ok();
    assert_eq!(lab.field("sick", "{{.State.Health.Status}}"), "unhealthy");
    let events = lab.strata("events --since 1h --until 0s --filter event=health_status").ok();
    let told: Vec<&str> = events.lines().filter_map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(told, ["unhealthy", "healthy"]);
    lab.strata("rm sick").ok();
    lab.is_clean();
}

#[test]
fn a_check_that_takes_too_long_has_failed() {
    need!(needs());
    let lab = Lab::start();
    let line = "--name slow --health-interval 20ms --health-timeout 100ms --health-retries 1 --health-cmd";
    let words: Vec<&str> = ["run", "-d", "--network", "none"].into_iter().chain(line.split(' ')).collect();
    lab.machine.strata([words.as_slice(), &["echo began; sleep 1000", "box", "sleep", "1000"]].concat()).ok();
    lab.until("ps --format {{.Status}}", |out| out.ends_with("(unhealthy)\n"));
    let first = lab.field("slow", "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}");
    assert_eq!(first, "-1 Health check exceeded timeout (100ms): began");
    lab.strata("rm -f slow").ok();
    // What the image asks is not asked if a person says so.
    lab.strata("run -d --network none --no-healthcheck --name quiet --entrypoint sleep full 1000").ok();
    assert!(!lab.field("quiet", "{{json .State}}").contains("Health"));
    assert!(!lab.strata("ps --format {{.Status}}").ok().contains('('));
    lab.strata("rm -fv quiet").ok();
    lab.is_clean();
}

#[test]
fn a_reboot_brings_back_what_should_run() {
    need!(needs());
    let lab = Lab::start();
    let ids: Vec<String> = [
        ("--name always --restart always", SLEEP),
        ("--name unless --restart unless-stopped", SLEEP),
        ("--name plain", SLEEP),
        ("--rm --name gone", SLEEP),
    ]
    .map(|(options, script)| lab.background(options, script))
    .into();
    for (name, policy) in [("held", "unless-stopped"), ("kept", "always")] {
        lab.background(&format!("--name {name} --restart {policy}"), SLEEP);
        lab.strata(&format!("stop -t 5 {name}")).ok();
    }
    lab.strata("create --network none --restart always --name never box true").ok();
    let torn = lab.background("--name torn --restart unless-stopped", SLEEP);
    lab.cut_power(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    lab.machine.sh(&format!("kill -9 {}", lab.state(&torn)["shim_pid"])).ok();
    std::fs::write(lab.state_file(&torn), "").unwrap();
    let states = lab.machine.strata(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok();
    for line in ["always exited", "unless exited", "plain exited", "gone exited", "torn exited", "never created"] {
        assert!(states.lines().any(|state| state == line), "{line}: {states}");
    }
    assert_eq!(lab.field("plain", "{{.State.ExitCode}} {{.State.Running}} {{.State.Pid}}"), "255 false 0");
    let mut started: Vec<String> = lab.strata("start --boot").ok().lines().map(str::to_owned).collect();
    started.sort();
    assert_eq!(started, ["always", "kept", "torn", "unless"]);
    assert_eq!(lab.strata("start --boot").ok(), "");
    let mut running: Vec<String> = lab.strata("ps --format {{.Names}}").ok().lines().map(str::to_owned).collect();
    running.sort();
    assert_eq!(running, ["always", "kept", "torn", "unless"]);
    assert!(lab.strata("inspect gone").code != 0);
    lab.strata("rm -f always kept torn unless held plain never").ok();
    lab.is_clean();
}

#[test]
fn a_shutdown_ends_all_in_order_and_the_next_boot_goes_on() {
    need!(needs());
    let lab = Lab::start();
    let stubborn = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    for (options, script) in [
        ("--name always --restart always", SLEEP),
        ("--name unless --restart unless-stopped", SLEEP),
        ("--name failing --restart on-failure", SLEEP),
        ("--name paused --restart always", SLEEP),
        ("--name plain", SLEEP),
        ("--name gone --rm", SLEEP),
        ("--name held --restart unless-stopped", SLEEP),
        ("--name stubborn --restart always --stop-timeout 1", stubborn),
    ] {
        lab.background(options, script);
        let name = options.split(' ').nth(1).unwrap();
        lab.until(&format!("logs {name}"), |out| out == "up\n");
    }
    lab.strata("stop held").ok();
    lab.strata("pause paused").ok();
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let ended = sorted(lab.strata("stop --boot").ok());
    assert_eq!(ended, ["always", "failing", "gone", "paused", "plain", "stubborn", "unless"]);
    assert_eq!(lab.strata("ps -q").ok(), "");
    for (name, code) in [("always", 7), ("unless", 7), ("failing", 7), ("paused", 7), ("plain", 7), ("stubborn", 137)] {
        assert_eq!(lab.field(name, "{{.State.Status}} {{.State.ExitCode}}"), format!("exited {code}"), "{name}");
    }
    assert_eq!(lab.strata("stop --boot").ok(), "");
    let started = sorted(lab.strata("start --boot").ok());
    assert_eq!(started, ["always", "failing", "paused", "stubborn", "unless"]);
    assert!(lab.strata("stop --boot always").fails(125).contains("conflicting options: --boot"));
    lab.strata("rm -f always failing paused stubborn unless plain held").ok();
    lab.is_clean();
}

#[test]
fn a_shim_that_is_told_to_end_ends_its_container_in_order() {
    need!(needs());
    let lab = Lab::start();
    let id = lab.background("--name web --restart always", SLEEP);
    lab.until("logs web", |out| out == "up\n");
    lab.machine.sh(&format!("kill -TERM {}", lab.state(&id)["shim_pid"])).ok();
    lab.until("inspect -f {{.State.Status}} web", |out| out == "exited\n");
    assert_eq!(lab.field("web", "{{.RestartCount}} {{.State.ExitCode}}"), "0 7");
    let events = lab.strata("events --since 1h --until 0s -f container=web --format {{.Action}}").ok();
    assert_eq!(events, "create\nstart\nkill\ndie\nstop\n");
    assert_eq!(lab.strata("start --boot").ok(), "web\n");
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn a_killed_shim_leaves_no_container_unseen() {
    need!(needs());
    let lab = Lab::start();
    for options in ["", "-u 1000", "--pid host", "--init -u user"] {
        let id = lab.background(&format!("--name web --restart always {options}"), SLEEP);
        lab.until("logs web", |out| out == "up\n");
        lab.machine.sh(&format!("kill -9 {}", lab.state(&id)["shim_pid"])).ok();
        lab.until("ps -a --format {{.State}}", |out| out == "dead\n");
        assert_eq!(lab.field("web", "{{.State.Running}} {{.State.Pid}}"), "false 0", "{options}");
        assert_eq!(lab.strata("ps -q").ok(), "");
        assert_eq!(lab.strata("start --boot").ok(), "web\n", "{options}");
        lab.until("logs web", |out| out == "up\nup\n");
        lab.machine.sh(&format!("kill -9 {}", lab.state(&id)["shim_pid"])).ok();
        lab.strata("rm -f web").ok();
        lab.is_clean();
    }
}

#[test]
fn killed_commands_and_a_removed_program_harm_nothing() {
    need!(needs());
    let lab = Lab::start();
    let copy = lab.machine.dir().join("strata-copy");
    std::fs::copy(strata_testkit::host::strata(), &copy).unwrap();
    let run = |words: &[&str]| {
        let mut command = lab.machine.command(&copy);
        command.arg("--root").arg(lab.machine.root()).args(words);
        command
    };
    let ran =
        run(&["run", "-d", "--network", "none", "--name", "web", "--restart", "always", "box", "sh", "-c", SLEEP]);
    let started = { ran }.output().unwrap();
    assert!(started.status.success(), "{started:?}");
    lab.until("logs web", |out| out == "up\n");
    let first = lab.field("web", "{{.State.Pid}}");
    for words in [
        &["attach", "web"][..],
        &["logs", "-f", "web"],
        &["exec", "web", "sh", "-c", "echo in; sleep 1000"],
        &["wait", "web"],
    ] {
        let mut client = run(words).stdout(Stdio::piped()).spawn().unwrap();
        if words[0] != "wait" && words[0] != "attach" {
            let mut byte = [0];
            std::io::Read::read_exact(client.stdout.as_mut().unwrap(), &mut byte).unwrap();
        }
        Machine::kill(client);
        assert_eq!(lab.field("web", "{{.State.Status}} {{.State.Pid}}"), format!("running {first}"), "{words:?}");
    }
    // An upgrade replaces the program; the shim goes on, even over a restart.
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, "another program").unwrap();
    assert_eq!(lab.strata("exec web echo in").ok(), "in\n");
    lab.machine.sh(&format!("kill -9 {first}")).ok();
    lab.until("inspect -f {{.RestartCount}}:{{.State.Status}} web", |out| out == "1:running\n");
    assert_eq!(lab.strata("exec web echo again").ok(), "again\n");
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn the_boot_unit_is_one_that_systemd_takes() {
    need!(needs());
    let lab = Lab::start();
    let unit = lab.strata("system boot-unit").ok();
    assert!(unit.contains(" start --boot\n") && unit.contains(" stop --boot\n"), "{unit}");
    need!(strata_testkit::host::program("systemd-analyze"));
    let file = lab.machine.dir().join("strata.service");
    std::fs::write(&file, unit).unwrap();
    let verified = lab.machine.sh(&format!("systemd-analyze verify --man=no {} 2>&1", file.display()));
    assert!(!verified.out.contains("strata.service:"), "{verified:?}");
}

#[test]
fn one_can_wait_for_the_next_end_and_for_the_removal() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("create --network none --name later box sh -c exit").ok();
    assert_eq!(lab.strata("wait later").ok(), "0\n");
    let wait = |condition: &str| {
        let words = ["wait", "--condition", condition, "later"];
        lab.machine.strata_command(words).stdout(Stdio::piped()).spawn().unwrap()
    };
    let (next, removed) = (wait("next-exit"), wait("removed"));
    // Both have to be there before it starts: they open a watch.
    while lab.machine.sh("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c inotify").out != "2\n" {
        std::thread::yield_now();
    }
    lab.strata("start -a later").ok();
    assert_eq!(next.wait_with_output().unwrap().stdout, b"0\n");
    lab.strata("rm later").ok();
    assert_eq!(removed.wait_with_output().unwrap().stdout, b"0\n");
    assert_eq!(lab.strata("wait --condition nope later").fails(1), "strata: invalid condition: \"nope\"\n");
    lab.is_clean();
}
