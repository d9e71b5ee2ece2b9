//! strata beside docker: the same words on the same images print the same lines and end with the same code.
#![allow(clippy::unwrap_used, reason = "a test")]

mod containers;
mod images;
mod life;
mod networks;
mod nonsense;
mod system;
mod words;

use strata_testkit::machine::Ran;
use strata_testkit::peers::Docker;
use strata_testkit::{Machine, host};

/// Both engines in one machine.
struct Pair<'m> {
    machine: &'m Machine,
    docker: Docker<'m>,
    differences: Vec<String>,
}

/// Lines in order.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What the tests here need.
fn needs() -> Result<(), String> {
    host::root()
        .and_then(|()| host::program("nsenter"))
        .and_then(|()| host::program("busybox"))
        .and_then(|()| Docker::available())
}

impl<'m> Pair<'m> {
    fn start(machine: &'m Machine) -> Self {
        Self { machine, docker: Docker::start(machine), differences: Vec::new() }
    }

    /// Each in a machine of its own, with a bridge of its own.
    fn start_apart(machine: &'m Machine, theirs: &'m Machine) -> Self {
        Self { machine, docker: Docker::start_with_bridge(theirs), differences: Vec::new() }
    }

    /// Runs the words with both.
    fn both(&self, words: &[&str]) -> (Ran, Ran) {
        (self.docker.run(words), self.machine.strata(words))
    }

    /// Runs the words with both, and wants both to succeed.
    fn prepare(&self, words: &[&str]) {
        let (docker, strata) = self.both(words);
        docker.ok();
        strata.ok();
    }

    /// Notes where stdout or the exit code differ.
    fn same(&mut self, words: &[&str]) {
        self.same_by(words, |text| text.to_owned());
    }

    /// The same, after `normal` made equal what may differ, such as ids.
    fn same_by(&mut self, words: &[&str], normal: impl Fn(&str) -> String) {
        let (docker, strata) = self.both(words);
        if docker.code != strata.code || normal(&docker.out) != normal(&strata.out) {
            let show = |name: &str, ran: &Ran| {
                format!("  {name} ({}):\n{}{}", ran.code, normal(&ran.out), ran.err.lines().next().unwrap_or_default())
            };
            self.differences.push(format!("{words:?}\n{}\n{}", show("docker", &docker), show("strata", &strata)));
        }
    }

    /// Notes where the exit codes differ.
    fn same_code(&mut self, words: &[&str]) {
        let (docker, strata) = self.both(words);
        if docker.code != strata.code {
            let (theirs, ours) = (docker.err.trim(), strata.err.trim());
            self.differences
                .push(format!("{words:?}\n  docker {}: {theirs}\n  strata {}: {ours}", docker.code, strata.code));
        }
    }

    fn finish(self) {
        let count = self.differences.len();
        assert!(self.differences.is_empty(), "{count} differences:\n{}", self.differences.join("\n\n"));
    }
}
