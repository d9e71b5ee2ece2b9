//! A container's life by the command line, with crun as oracle for what is printed.

use serde_json::{Value, json};
use strata_testkit::{host, need};

use crate::bundle::Lab;

macro_rules! lab {
    () => {{
        need!(host::root(), host::program("busybox"), host::program("ip"));
        Lab::start()
    }};
}

fn status(lab: &Lab, id: &str) -> String {
    let state: Value = serde_json::from_str(&lab.strata(&format!("state {id}")).ok()).unwrap();
    state["status"].as_str().unwrap().to_owned()
}

/// Waits until a container does what it shall.
fn wait_for(lab: &Lab, id: &str, wanted: &str) {
    while status(lab, id) != wanted {
        std::thread::yield_now();
    }
}

#[test]
fn a_container_is_created_started_paused_killed_and_deleted() {
    let lab = lab!();
    let mut config = lab.config("echo started >/tmp/here; exec sleep 1000");
    config["annotations"] = json!({"org.example": "kept"});
    lab.configure(&config);
    lab.strata("create --bundle b --pid-file pid box").ok();
    let state: Value = serde_json::from_str(&lab.strata("state box").ok()).unwrap();
    assert_eq!(
        (&state["status"], &state["id"], &state["ociVersion"]),
        (&json!("created"), &json!("box"), &json!("1.0.2"))
    );
    assert_eq!(state["annotations"], json!({"org.example": "kept"}));
    assert_eq!(state["bundle"], json!(lab.machine.dir().join("b").canonicalize().unwrap()));
    assert_eq!(state["pid"].to_string(), lab.machine.sh("cat pid").ok());
    assert_eq!(lab.machine.sh("ls b/rootfs/tmp").ok(), "", "nothing runs before the start");
    lab.strata("start box").ok();
    assert_eq!(status(&lab, "box"), "running");
    assert!(lab.strata("start box").fails(1).contains("cannot start an already running container"));
    assert!(lab.strata("delete box").fails(1).contains("cannot delete container box that is not stopped: running"));
    lab.strata("pause box").ok();
    assert_eq!(status(&lab, "box"), "paused");
    assert!(lab.strata("exec box true").fails(255).contains("cannot exec in a paused container"));
    lab.strata("resume box").ok();
    assert!(lab.strata("resume box").fails(1).contains("container not paused"));
    assert_eq!(lab.strata("list -q").ok(), "box\n");
    assert!(lab.strata("ps box").ok().contains("sleep 1000"));
    lab.strata("kill box KILL").ok();
    wait_for(&lab, "box", "stopped");
    assert!(lab.strata("kill box KILL").fails(1).contains("container not running"));
    assert!(lab.strata("start box").fails(1).contains("cannot start a container that has stopped"));
    lab.strata("delete box").ok();
    assert!(lab.strata("state box").fails(1).contains("container does not exist"));
    lab.strata("delete --force box").ok();
    assert_eq!(lab.machine.sh("ls state").ok(), "", "nothing is remembered");
}

#[test]
fn further_programs_are_executed_inside() {
    let lab = lab!();
    lab.configure(&lab.config("sleep 1000"));
    lab.strata("create --bundle b box").ok();
    lab.strata("start box").ok();
    assert_eq!(lab.strata("exec -u 1000:1000 --cwd /tmp box pwd").ok(), "/tmp\n");
    let ran = lab.words(&["exec", "-e", "A=b", "box", "sh", "-c", "id -u; hostname; echo $A; exit 3"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, "0\nbox\nb\n"));
    assert_eq!(lab.strata("exec --tty box tty").ok(), "/dev/pts/0\r\n");
    assert!(lab.strata("exec box nosuch").fails(255).contains("executable file not found in $PATH"));
    let process = json!({"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "echo $X >/tmp/said"], "env": ["PATH=/bin", "X=y"], "cwd": "/"});
    std::fs::write(lab.machine.dir().join("process.json"), process.to_string()).unwrap();
    lab.strata("exec --detach --process process.json --pid-file pid box").ok();
    assert!(lab.machine.sh("cat pid").ok().parse::<i32>().is_ok());
    while lab.machine.sh("cat b/rootfs/tmp/said").out != "y\n" {
        std::thread::yield_now();
    }
    lab.strata("update --pids-limit 77 box").ok();
    let limit = format!("cat /sys/fs/cgroup/pids{0}/pids.max /sys/fs/cgroup{0}/pids.max 2>/dev/null", lab.cgroup());
    let limit = lab.machine.sh(&limit);
    assert_eq!(limit.out, "77\n");
    if lab.machine.sh(&format!("mkdir /sys/fs/cgroup/freezer{}/below", lab.cgroup())).code == 0 {
        lab.words(&["exec", "--detach", "--cgroup", "below", "box", "sleep", "2000"]);
        assert!(lab.strata("ps box").ok().contains("sleep 2000"), "groups below belong to it");
    }
    lab.strata("kill --all box KILL").ok();
    lab.strata("delete --force box").ok();
}

#[test]
fn hooks_are_run_in_their_order_with_the_state() {
    let lab = lab!();
    let hook = |name: &str| {
        let file = lab.machine.dir().join("hooks").display().to_string();
        let script = format!("read -r state; echo {name} $(echo $state | grep -o '\"status\":\"[a-z]*\"') >>{file}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], "timeout": 60}])
    };
    let mut config = lab.config("true");
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        config["hooks"][name] = hook(name);
    }
    config["hooks"]["startContainer"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat >/tmp/state; hostname >/tmp/name"],
        "env": ["PATH=/bin"]}]);
    lab.configure(&config);
    lab.strata("run --bundle b box").ok();
    let expected = "prestart \"status\":\"created\"\ncreateRuntime \"status\":\"creating\"\ncreateContainer \"status\":\"creating\"\n\
                    poststart \"status\":\"running\"\npoststop \"status\":\"stopped\"\n";
    assert_eq!(lab.machine.sh("cat hooks").ok(), expected);
    assert_eq!(lab.machine.sh("cat b/rootfs/tmp/name").ok(), "box\n", "it runs inside");
    assert!(lab.machine.sh("cat b/rootfs/tmp/state").ok().contains("\"status\":\"created\""));
    config["hooks"]["prestart"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"]}]);
    lab.configure(&config);
    let refused = lab.strata("create --bundle b box").fails(1);
    assert!(refused.contains("error running prestart hook #0") && refused.contains("why"), "{refused}");
    config["hooks"]["prestart"] = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]);
    lab.configure(&config);
    assert!(lab.strata("create --bundle b box").fails(1).contains("ran past its timeout"));
    assert_eq!(lab.machine.sh("ls state").ok(), "", "what could not be made is gone");
}

#[test]
fn what_a_killed_creation_leaves_is_deleted() {
    let lab = lab!();
    let mut config = lab.config("true");
    // The hook says that it runs, and then never ends.
    let said = lab.machine.dir().join("said");
    let script = format!("echo $PPID >{}; exec sleep 1000", said.display());
    config["hooks"] =
        json!({"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
    lab.configure(&config);
    let words = ["runtime", "--root", "state", "create", "--bundle", "b", "box"];
    let mut creation = lab.machine.command(host::strata()).args(words).spawn().unwrap();
    while lab.machine.sh("test -s said").code != 0 {
        std::thread::yield_now();
    }
    assert_eq!(status(&lab, "box"), "creating");
    lab.machine.sh("kill -KILL $(cat said)").ok();
    creation.wait().unwrap();
    wait_for(&lab, "box", "stopped");
    lab.strata("delete box").ok();
    assert_eq!((lab.machine.sh("ls state").out, lab.groups()), (String::new(), String::new()), "nothing stays");
}

#[test]
fn a_terminal_goes_to_the_console_socket_or_to_the_caller() {
    let lab = lab!();
    need!(host::program("python3"));
    let mut config = lab.config("tty; stty size; test -c /dev/console && echo console");
    config["process"]["terminal"] = json!(true);
    config["process"]["consoleSize"] = json!({"height": 33, "width": 44});
    lab.configure(&config);
    assert_eq!(lab.strata("run --bundle b box").ok(), "/dev/pts/0\r\n33 44\r\nconsole\r\n");
    assert!(lab.strata("create --bundle b box").fails(1).contains("without setting console socket"));
    let receiver = "import socket,array,os,sys,subprocess\n\
        s=socket.socket(socket.AF_UNIX);s.bind('sock');s.listen(1)\n\
        p=subprocess.Popen([sys.argv[1],'runtime','--root','state','create','--bundle','b','--console-socket','sock','box'])\n\
        c,_=s.accept();m,a,f,_=c.recvmsg(256,socket.CMSG_SPACE(4));fd=array.array('i',a[0][2])[0]\n\
        assert p.wait()==0\n\
        assert subprocess.call([sys.argv[1],'runtime','--root','state','start','box'])==0\n\
        out=b''\n\
        while True:\n\
        \x20try: d=os.read(fd,100)\n\
        \x20except OSError: break\n\
        \x20if not d: break\n\
        \x20out+=d\n\
        sys.stdout.write(m.decode()+' '+out.decode())";
    let mut python = lab.machine.command("python3");
    let ran: strata_testkit::machine::Ran = python.args(["-c", receiver]).arg(host::strata()).output().unwrap().into();
    assert_eq!(ran.ok(), "/dev/ptmx /dev/pts/0\r\n33 44\r\nconsole\r\n");
    lab.strata("delete --force box").ok();
}
