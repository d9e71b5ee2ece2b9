//! What is told of what happens.

use strata_testkit::need;

use super::{Lab, needs};

impl Lab {
    /// `ACTION TYPE` of what happened since the program began, with the id of an exec where there is one.
    pub(super) fn told(&self, filters: &str) -> Vec<String> {
        let format = "{{.Type}} {{.Action}}";
        let words: Vec<&str> = filters.split(' ').filter(|word| !word.is_empty()).collect();
        let head = ["events", "--since", "1h", "--until", "0s", "--format", format];
        let out = self.machine.strata([&head[..], &words].concat()).ok();
        out.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_containers_life_is_told_with_its_volumes_and_programs() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("run -d --network none --name web -v data:/data:ro box sleep 1000").ok();
    lab.strata("exec web true").ok();
    lab.strata("export -o out.tar web").ok();
    lab.strata("commit -m why web made").ok();
    lab.strata("stop -t 0 web").ok();
    lab.strata("rm web").ok();
    let told = lab.told("-f type=container");
    let expected = [
        "create",
        "start",
        "exec_create: true",
        "exec_start: true",
        "exec_die",
        "export",
        "commit",
        "kill",
        "die",
        "stop",
        "destroy",
    ];
    assert_eq!(told, expected.map(|act| format!("container {act}")));
    let volumes = ["create", "mount", "unmount"];
    assert_eq!(lab.told("-f volume=data"), volumes.map(|act| format!("volume {act}")));
    let json = lab.strata("events --since 1h --until 0s --format json").ok();
    let events: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let attribute = |action: &str, name: &str| {
        let event = events.iter().find(|event| event["Action"].as_str().unwrap().starts_with(action)).unwrap();
        event["Actor"]["Attributes"][name].as_str().unwrap_or_default().to_owned()
    };
    let id = attribute("exec_create", "execID");
    assert_eq!(id.len(), 64);
    assert_eq!((attribute("exec_start", "execID"), attribute("exec_die", "execID")), (id.clone(), id));
    assert_eq!(attribute("exec_die", "exitCode"), "0");
    assert_eq!(
        ["destination", "driver", "read/write"].map(|name| attribute("mount", name)),
        ["/data", "local", "false"]
    );
    assert_eq!((attribute("commit", "comment"), attribute("commit", "imageRef")), ("why".into(), "made".into()));
    assert!(attribute("commit", "imageID").starts_with("sha256:"));
    // A run that is followed by another one mounts anew.
    lab.strata("run --network none --name twice --restart on-failure:1 -v data:/x box false").fails(1);
    lab.until("inspect -f {{.State.Status}} twice", |out| out == "exited\n");
    let told = lab.told("-f volume=data");
    assert_eq!(told[3..], ["mount", "unmount", "mount", "unmount"].map(|act| format!("volume {act}")));
}

#[test]
fn what_happens_to_images_and_what_is_pruned_is_told() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("tag box other:1").ok();
    lab.strata("save -o other.tar other:1").ok();
    lab.strata("rmi other:1").ok();
    lab.strata("load -qi other.tar").ok();
    lab.strata("create --network none --name made box").ok();
    lab.strata("export -o files.tar made").ok();
    lab.strata("import files.tar imported").ok();
    lab.strata("rmi imported").ok();
    let told = lab.told("-f type=image");
    let after = told.iter().position(|act| act == "image tag").unwrap();
    let expected = ["tag", "save", "untag", "load", "import", "untag", "delete"];
    assert_eq!(told[after..], expected.map(|act| format!("image {act}")));
    for line in ["container prune -f", "image prune -f", "volume prune -f", "network prune -f"] {
        lab.strata(line).ok();
    }
    let pruned = ["container", "image", "volume", "network"].map(|kind| format!("{kind} prune"));
    assert_eq!(lab.told("-f event=prune"), pruned);
    for kind in ["config", "daemon", "node", "plugin", "secret", "service"] {
        assert_eq!(lab.told(&format!("-f {kind}=x")), [""; 0]);
    }
    assert!(lab.strata("events --since 1h --until 0s -f nope=x").fails(1).contains("invalid filter 'nope'"));
}

#[test]
fn looking_in_and_copying_are_told() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("run -d --network none --name web box sleep 1000").ok();
    lab.strata("top web").ok();
    lab.strata("cp web:/etc/passwd copied").ok();
    lab.strata("cp copied web:/tmp").ok();
    let acts = ["top", "archive-path", "extract-to-dir"];
    let told = lab.told("-f container=web");
    assert_eq!(told[2..2 + acts.len()], acts.map(|act| format!("container {act}")));
    lab.strata("rm -f web").ok();
}
