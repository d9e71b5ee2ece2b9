//! A container that its policy starts again is on its network again.

use strata_testkit::need;

use super::{Lab, available};

#[test]
fn a_restarted_container_serves_its_published_port_again() {
    need!(available());
    let lab = Lab::start();
    lab.serve("web", "-p 127.0.0.1:8080:80 --restart always");
    let get = "busybox wget -qO- http://127.0.0.1:8080/";
    assert_eq!(lab.eventually(get), "web\n");
    let field = |format: &str| lab.strata(&format!("inspect -f {format} web")).ok().trim().to_owned();
    let first = field("{{.State.Pid}}");
    lab.sh(&format!("kill -9 {first}")).ok();
    let asked = std::time::Instant::now();
    while field("{{.RestartCount}}:{{.State.Status}}") != "1:running" {
        assert!(asked.elapsed() < super::PATIENCE);
    }
    assert_ne!(field("{{.State.Pid}}"), first);
    assert_eq!(lab.eventually(get), "web\n");
    lab.strata("rm -f web").ok();
}
