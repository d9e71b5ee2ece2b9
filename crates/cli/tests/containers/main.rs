//! Containers end to end: the real program in a machine within the machine, on an image of busybox.
#![allow(clippy::unwrap_used, reason = "a test")]

mod ahead;
mod crash;
mod drivers;
mod escapes;
mod events;
mod full_disk;
mod integrity;
mod kept;
mod life;
mod limits;
mod logging;
mod options;
mod refusals;
mod restart;
mod secrets;
mod terminal;
mod users;
mod version_2;
mod volumes;

use std::time::{Duration, Instant};

use serde_json::json;
use strata_testkit::image::Image;
use strata_testkit::machine::Ran;
use strata_testkit::{Machine, host};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine whose store has the images `box` and `full`.
struct Lab {
    machine: Machine,
}

impl Lab {
    fn start() -> Self {
        let machine = Machine::isolated();
        let full = Image::busybox()
            .with("Entrypoint", json!(["/bin/echo", "entry"]))
            .with("Cmd", json!(["cmd"]))
            .with("User", json!("user"))
            .with("WorkingDir", json!("/srv/app"))
            .with("Env", json!(["PATH=/bin", "FROM=image"]))
            .with("Volumes", json!({"/etc": {}}))
            .with("ExposedPorts", json!({"80/tcp": {}}))
            .with("Labels", json!({"from": "image"}))
            .with("StopSignal", json!("SIGUSR1"))
            .with("Healthcheck", json!({"Test": ["CMD", "true"], "Interval": 1_000_000_000}));
        for (name, image) in [("box", Image::busybox()), ("full", full)] {
            let file = machine.dir().join(format!("{name}.tar"));
            std::fs::write(&file, image.docker_archive(&format!("{name}:latest"))).unwrap();
            machine.strata(["load", "-qi", file.to_str().unwrap()]).ok();
        }
        Self { machine }
    }

    /// Runs strata with words separated by spaces.
    fn strata(&self, line: &str) -> Ran {
        self.machine.strata(line.split(' '))
    }

    /// Runs `run --rm --network none LINE -- box sh -c SCRIPT`.
    fn script(&self, options: &str, script: &str) -> Ran {
        let options = options.split(' ').filter(|word| !word.is_empty());
        let words: Vec<&str> = ["run", "--rm", "--network", "none"].into_iter().chain(options).collect();
        self.machine.strata([words.as_slice(), &["box", "sh", "-c", script]].concat())
    }

    /// Asks until the answer is yes.
    #[track_caller]
    fn until(&self, line: &str, yes: impl Fn(&str) -> bool) {
        let asked = Instant::now();
        loop {
            let answer = self.strata(line);
            if yes(&answer.out) {
                return;
            }
            assert!(asked.elapsed() < PATIENCE, "`{line}` still says {answer:?}");
            std::thread::yield_now();
        }
    }

    /// Asserts that no container and no volume is left, and that the store is whole.
    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(self.strata("ps -aq").ok(), "");
        for dir in ["containers", "volumes"] {
            let list = std::fs::read_dir(self.machine.root().join(dir));
            let names: Vec<_> = list.into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, [""; 0], "{dir}");
        }
        self.strata("check").ok();
    }
}

/// What these tests need of the host.
fn needs() -> Result<(), String> {
    host::root().and_then(|()| host::program("busybox")).and_then(|()| host::program("nsenter"))
}
