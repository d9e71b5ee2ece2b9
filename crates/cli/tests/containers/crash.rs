//! What happens when a client or a shim is killed.

use std::process::Stdio;

use strata_testkit::{Machine, need};

use super::{Lab, needs};

/// Starts `run LINE` and kills the client once the container runs.
fn kill_client(lab: &Lab, line: &str) {
    let client = lab.machine.strata_command(line.split(' ')).stdout(Stdio::null()).spawn().unwrap();
    lab.until("ps --format {{.Names}}", |out| out == "left\n");
    Machine::kill(client);
}

#[test]
fn a_container_goes_on_without_its_client() {
    need!(needs());
    let lab = Lab::start();
    kill_client(&lab, "run --network none --name left box sleep 1000");
    assert_eq!(lab.strata("ps --format {{.Names}}").ok(), "left\n");
    assert_eq!(lab.strata("exec left echo alive").ok(), "alive\n");
    lab.strata("rm -f left").ok();
    lab.is_clean();
}

#[test]
fn a_container_that_is_not_to_stay_goes_without_its_client() {
    need!(needs());
    let lab = Lab::start();
    kill_client(&lab, "run --rm --network none -v /anonymous --name left box sleep 1000");
    lab.strata("kill left").ok();
    lab.until("ps -aq", str::is_empty);
    lab.strata("run -d --rm --network none box true").ok();
    lab.until("ps -aq", str::is_empty);
    lab.is_clean();
}

#[test]
fn a_container_whose_shim_was_killed_is_dead_and_can_be_removed() {
    need!(needs());
    let lab = Lab::start();
    let id = lab.strata("run -d --network none --name orphan box sleep 1000").ok();
    let state = lab.machine.root().join("containers").join(id.trim()).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap();
    lab.machine.sh(&format!("kill -9 {}", state["shim_pid"])).ok();
    lab.until("ps -a --format {{.State}}", |out| out == "dead\n");
    assert_eq!(lab.strata("exec orphan true").code, 1);
    lab.strata("rm orphan").ok();
    lab.is_clean();
}

/// Stops the shim of a container, as a debugger does or `kill -STOP`; its process.
fn stop_shim(lab: &Lab, id: &str) -> i64 {
    let state = lab.machine.root().join("containers").join(id).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap();
    let shim = state["shim_pid"].as_i64().unwrap();
    lab.machine.sh(&format!("kill -STOP {shim}; until grep -q '^State:.T' /proc/{shim}/status; do :; done")).ok();
    shim
}

/// Runs a container `web` that ends when it is asked to, and stops its shim.
fn with_stopped_shim(lab: &Lab, options: &[&str]) -> i64 {
    let script = "trap 'exit 7' TERM; trap 'exit 10' USR1; echo up; while :; do sleep 0.1; done";
    let run = ["run", "-d", "--network", "none", "--name", "web"];
    let id = lab.machine.strata([&run, options, &["box", "sh", "-c", script]].concat()).ok();
    lab.until("logs web", |out| out == "up\n");
    stop_shim(lab, id.trim())
}

#[test]
fn a_container_whose_shim_is_stopped_runs_as_long_as_its_process() {
    need!(needs());
    let lab = Lab::start();
    let shim = with_stopped_shim(&lab, &[]);
    let is_running = || lab.strata("ps -a --format {{.State}}").ok() == "running\n";
    assert!(is_running());
    assert_eq!(lab.strata("inspect -f {{.State.Status}} web").ok(), "running\n");
    // Who needs the shim is told.
    for line in ["exec web true", "attach --no-stdin web", "rename web other", "update --restart always web"] {
        let said = lab.strata(line);
        assert!(said.code != 0, "{line}: {said:?}");
        assert!(said.err.contains(&format!("(process {shim}) does not answer\n")), "{line}: {said:?}");
    }
    assert!(lab.strata("exec web true").err.contains("\nhint: `kill -CONT` lets a process go on"));
    assert!(lab.strata("commit web image").fails(1).contains("does not answer"));
    lab.strata("commit --pause=false web image").ok();
    lab.strata("kill --signal USR1 web").ok();
    lab.until("ps -a --format {{.State}}", |out| out == "exited\n");
    // How it ended the kernel knows, though its shim has said nothing yet.
    assert_eq!(lab.strata("wait web").ok(), "10\n");
    assert!(lab.machine.sh(&format!("grep '^State:.T' /proc/{shim}/status")).code == 0, "the shim is still stopped");
    lab.machine.sh(&format!("kill -CONT {shim}")).ok();
    lab.machine.sh(&format!("while [ -e /proc/{shim} ]; do :; done")).ok();
    assert_eq!(lab.strata("inspect -f {{.State.Status}}={{.State.ExitCode}} web").ok(), "exited=10\n");
    lab.strata("rm web").ok();
    lab.strata("rmi image").ok();
    lab.is_clean();
}

#[test]
fn a_container_whose_shim_is_stopped_is_stopped_killed_and_removed_without_it() {
    need!(needs());
    let lab = Lab::start();
    let gone = |shim: i64| assert_ne!(lab.machine.sh(&format!("kill -0 {shim} 2>/dev/null")).code, 0, "the shim lives");
    let shown = || lab.strata("inspect -f {{.State.Status}}={{.State.ExitCode}} web").ok();
    // Whatever its policy says: a person has ended it.
    for (line, code) in [("stop web", 7), ("kill web", 137), ("stop -t 0 web", 137)] {
        let shim = with_stopped_shim(&lab, &["--restart", "always"]);
        lab.strata(line).ok();
        gone(shim);
        if line != "stop -t 0 web" {
            assert_eq!(shown(), format!("exited={code}\n"), "{line}");
        }
        // What comes next belongs to another shim.
        lab.strata("start web").ok();
        assert_eq!(lab.strata("exec web echo alive").ok(), "alive\n", "{line}");
        lab.strata("rm -f web").ok();
        lab.is_clean();
    }
    let shim = with_stopped_shim(&lab, &[]);
    lab.strata("rm -f web").ok();
    gone(shim);
    lab.is_clean();
    // It ended by itself, and is started again.
    let shim = with_stopped_shim(&lab, &[]);
    lab.strata("kill --signal USR1 web").ok();
    lab.until("ps -a --format {{.State}}", |out| out == "exited\n");
    assert_eq!(shown(), "exited=10\n");
    lab.strata("start web").ok();
    gone(shim);
    assert_eq!(lab.strata("exec web echo alive").ok(), "alive\n");
    lab.strata("rm -f web").ok();
    lab.is_clean();
}
