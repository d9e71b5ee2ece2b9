//! Networks end to end: the real program in a machine with a network of its own, and neighbours in further namespaces.
#![allow(clippy::unwrap_used, reason = "a test")]

mod bridge;
mod firewall;
mod hundred;
mod lasting;
mod named;
mod resolver;
mod restarted;
mod traffic;

use std::time::{Duration, Instant};

use strata_testkit::image::Image;
use strata_testkit::machine::Ran;
use strata_testkit::{Machine, host};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every test here needs.
fn available() -> Result<(), String> {
    host::root()?;
    ["nsenter", "unshare", "ip", "nft"].into_iter().try_for_each(host::program)
}

/// A machine whose store has the image `box`, and a neighbour on the network 10.99.0.0/24.
struct Lab {
    machine: Machine,
}

impl Lab {
    fn start() -> Self {
        let machine = Machine::isolated();
        let file = machine.dir().join("box.tar");
        std::fs::write(&file, Image::busybox().docker_archive("box:latest")).unwrap();
        machine.strata(["load", "-qi", file.to_str().unwrap()]).ok();
        Self { machine }
    }

    /// Gives the machine a neighbour outside: 10.99.0.2 in the namespace `peer`, and the machine is 10.99.0.1.
    fn with_peer(self) -> Self {
        self.sh("ip netns add peer
            ip link add up0 type veth peer name up0 netns peer
            ip address add 10.99.0.1/24 dev up0 && ip link set up0 up
            ip -n peer link set lo up && ip -n peer address add 10.99.0.2/24 dev up0 && ip -n peer link set up0 up")
            .ok();
        self
    }

    /// Runs strata with words separated by spaces.
    fn strata(&self, line: &str) -> Ran {
        self.machine.strata(line.split(' '))
    }

    fn sh(&self, script: &str) -> Ran {
        self.machine.sh(script)
    }

    /// Starts a container `name` that answers HTTP requests on port 80 with its name, and does so when this returns.
    fn serve(&self, name: &str, options: &str) {
        let script = format!("mkdir /www; echo {name} >/www/index.html; exec httpd -f -p 80 -h /www");
        let options = options.split(' ').filter(|word| !word.is_empty());
        let words: Vec<&str> = ["run", "-d", "--name", name].into_iter().chain(options).collect();
        self.machine.strata([words.as_slice(), &["box", "sh", "-c", &script]].concat()).ok();
        let listens = "until grep -q ':0050 .* 0A ' /proc/net/tcp /proc/net/tcp6; do :; done";
        self.machine.strata(["exec", name, "sh", "-c", listens]).ok();
    }

    /// What a command prints once it succeeds.
    #[track_caller]
    fn eventually(&self, script: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = self.sh(script);
            if ran.code == 0 {
                return ran.out;
            }
            assert!(Instant::now() < deadline, "{script}: {ran:?}");
        }
    }

    /// All that networks leave in the kernel and below the run directory.
    fn traces(&self) -> String {
        self.sh("ip -o link | grep -v -e ' lo:' -e ' up0'; nft list ruleset; ls /run/strata/*/net /run/strata/*/c").out
    }

    /// Waits until nothing of any container is left: interfaces go with their namespace, in the kernel's own time.
    #[track_caller]
    fn is_clean(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left: Vec<String> = self
                .traces()
                .lines()
                .filter(|line| line.contains(|c: char| c.is_alphanumeric()))
                .map(str::to_owned)
                .collect();
            let expected = |line: &String| line.starts_with("/run/strata/") || line == "lock";
            if left.iter().all(expected) {
                return;
            }
            assert!(Instant::now() < deadline, "left behind: {left:#?}");
        }
    }
}
