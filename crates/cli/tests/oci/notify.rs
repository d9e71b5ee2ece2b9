//! Filters that ask somebody outside about system calls.

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use strata_testkit::machine::Ran;
use strata_testkit::{host, need};

use crate::bundle::Lab;

/// Whoever is asked: takes so many filters, one after another, says what came with each, and answers: directories are not
/// made, everything else is.
const AGENT: &str = r#"
import array, fcntl, json, select, socket, struct, sys, threading
RECV, SEND, CONTINUE, EDQUOT = 0xc0502100, 0xc0182101, 1, 122
MKDIR = {83, 258} if struct.calcsize("P") == 8 and __import__("platform").machine() == "x86_64" else {34}
def serve(listener):
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while poll.poll()[0][1] & select.POLLIN:
        question = array.array("B", bytes(80))
        try:
            fcntl.ioctl(listener, RECV, question, True)
        except OSError:
            continue
        number, call = struct.unpack_from("QIIi", question)[0], struct.unpack_from("QIIi", question)[3]
        answer = struct.pack("QqiI", number, 0, -EDQUOT, 0) if call in MKDIR else struct.pack("QqiI", number, 0, 0, CONTINUE)
        try:
            fcntl.ioctl(listener, SEND, answer)
        except OSError:
            pass
agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
agent.bind(sys.argv[1])
agent.listen()
for _ in range(int(sys.argv[2])):
    connection, _ = agent.accept()
    text, fds, _, _ = socket.recv_fds(connection, 65536, 4)
    threading.Thread(target=serve, args=fds).start()
    told = json.loads(text)
    state = told["state"]
    one = told["pid"] == state["pid"]
    print(json.dumps([told["fds"], told.get("metadata"), state["id"], state["status"], state["bundle"], len(fds), one]))
"#;

struct Agent(Child);

impl Agent {
    /// Listens at `agent.sock` for so many filters.
    fn start(lab: &Lab, filters: usize) -> Self {
        let mut command = lab.machine.command("python3");
        command.args(["-c", AGENT, &path(lab), &filters.to_string()]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        while lab.machine.sh("test -S agent.sock").code != 0 {
            std::thread::yield_now();
        }
        Self(child)
    }

    /// What came with each filter, when all have gone.
    fn heard(self, lab: &Lab) -> Vec<Value> {
        let heard = Ran::from(self.0.wait_with_output().unwrap()).ok();
        lab.machine.sh("rm agent.sock").ok();
        heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn path(lab: &Lab) -> String {
    lab.machine.dir().join("agent.sock").display().to_string()
}

/// A configuration that asks about `names`.
fn asking(lab: &Lab, script: &str, names: &[&str]) -> Value {
    let mut config = lab.config(script);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path(lab),
        "listenerMetadata": "of mine",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
    });
    config
}

#[test]
fn somebody_outside_decides_about_system_calls() {
    need!(host::root(), host::program("busybox"), host::program("python3"), host::program("crun"), host::program("ip"));
    let lab = Lab::start();
    lab.configure(&lab.config("true"));
    let tried = lab.crun("run --bundle b probe");
    if tried.code != 0 {
        return host::skipped(module_path!(), &format!("a host on which crun runs containers: {}", tried.err.trim()));
    }
    let script = "mkdir /tmp/d 2>&1; ls /tmp; echo said";
    for no_new_privileges in [false, true] {
        let agent = Agent::start(&lab, 2);
        let mut config = asking(&lab, script, &["mkdir", "mkdirat"]);
        config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        let ran = lab.alike(&config);
        assert_eq!(ran.out, "mkdir: can't create directory '/tmp/d': Disk quota exceeded\nsaid\n");
        let bundle = lab.machine.dir().join("b");
        let expected = json!([["seccompFd"], "of mine", "box", "creating", bundle, 1, true]);
        let mut heard = agent.heard(&lab);
        // Ours is absolute, as the specification has it.
        heard[1][4] = json!(bundle);
        assert_eq!(heard, [expected.clone(), expected]);
    }
}

/// The runtime asks the kernel for things, too, after the filter is in force.
#[test]
fn the_runtime_may_be_asked_about() {
    need!(host::root(), host::program("busybox"), host::program("python3"), host::program("ip"));
    let lab = Lab::start();
    let agent = Agent::start(&lab, 2);
    let all =
        ["mkdir", "mkdirat", "capset", "execve", "write", "sendmsg", "recvmsg", "recvfrom", "futex", "close", "prctl"];
    lab.configure(&asking(&lab, "sleep 1000", &all));
    lab.strata("create --bundle b box").ok();
    lab.strata("start box").ok();
    let joined = lab.words(&["exec", "box", "sh", "-c", "mkdir /tmp/d 2>&1 && echo made"]);
    assert_eq!(
        (joined.code, joined.out.as_str()),
        (1, "mkdir: can't create directory '/tmp/d': Disk quota exceeded\n")
    );
    lab.strata("delete --force box").ok();
    let heard: Vec<(Value, Value)> =
        agent.heard(&lab).into_iter().map(|told| (told[3].clone(), told[6].clone())).collect();
    let expected = [(json!("creating"), json!(true)), (json!("running"), json!(false))];
    assert_eq!(heard, expected, "the second is another process than the container's first");
}

#[test]
fn without_somebody_who_listens_nothing_starts() {
    need!(host::root(), host::program("busybox"), host::program("ip"));
    let lab = Lab::start();
    let config = asking(&lab, "touch /tmp/ran", &["mkdir"]);
    lab.configure(&config);
    lab.strata("create --bundle b box").ok();
    let told = lab.strata("start box").fails(1);
    assert!(told.contains("cannot send the listener of system calls to"), "{told}");
    while !lab.strata("state box").ok().contains("stopped") {
        std::thread::yield_now();
    }
    lab.strata("delete box").ok();
    assert_eq!(lab.machine.sh("ls b/rootfs/tmp").ok(), "", "the program has not run");
    for (name, expected) in [("listenerPath", "needs a listenerPath"), ("listenerMetadata", "")] {
        let mut config = config.clone();
        config["linux"]["seccomp"].as_object_mut().unwrap().remove(name);
        lab.configure(&config);
        let made = lab.strata("create --bundle b box");
        assert!(made.err.contains(expected), "{made:?}");
        lab.strata("delete --force box").ok();
    }
}
