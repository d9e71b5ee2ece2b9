//! What happens when a client or a shim is killed.

use std::process::Stdio;

use strata_testkit::need;

use super::{Lab, needs};

/// Starts `run LINE` and kills the client once the container runs.
fn kill_client(lab: &Lab, line: &str) {
    let mut client = lab.machine.strata_command(line.split(' ')).stdout(Stdio::null()).spawn().unwrap();
    lab.until("ps --format {{.Names}}", |out| out == "left\n");
    client.kill().unwrap();
    client.wait().unwrap();
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
