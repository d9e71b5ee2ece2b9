//! `strata build`, by the program as people call it.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod cache;
mod call;
mod contexts;
mod copying;
mod exposed;
mod far_cache;
mod language;
mod mounts;
mod oracle;
mod progress;
mod refusals;
mod remote;
mod repositories;
mod squash;
mod verify;

use std::process::Child;

use strata_testkit::Machine;
use strata_testkit::image::Image;
use strata_testkit::machine::{Ran, feed};

macro_rules! need_all {
    () => {
        strata_testkit::need!(strata_testkit::host::root(), strata_testkit::host::program("busybox"))
    };
}
pub(crate) use need_all;

/// A machine with the image `base`, and a folder `ctx` with these files.
pub(crate) fn machine(files: &[(&str, &str)]) -> Machine {
    let machine = Machine::isolated();
    let archive = Image::busybox().docker_archive("base:latest");
    assert_eq!(machine.strata_with_input(["load"], &archive).ok(), "Loaded image: base:latest\n");
    for (name, content) in files {
        write(&machine, name, content);
    }
    machine
}

/// Writes a file of the context.
pub(crate) fn write(machine: &Machine, name: &str, content: &str) {
    let path = machine.dir().join("ctx").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Builds a Dockerfile with the folder `ctx`; more options may be given.
pub(crate) fn build(machine: &Machine, dockerfile: &str, options: &[&str]) -> Ran {
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    let mut command = machine.strata_command(["build", "--network", "none", "-f", "-"]);
    command.args(options).arg("ctx");
    feed(command, dockerfile.as_bytes())
}

/// Runs a shell line in an image.
pub(crate) fn sh(machine: &Machine, image: &str, line: &str) -> String {
    machine.strata(["run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "sh", image, "-c", line]).ok()
}

/// A program of the machine that ends with the test.
pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Shows something of an image.
pub(crate) fn inspect(machine: &Machine, image: &str, format: &str) -> String {
    machine.strata(["inspect", "--type", "image", "-f", format, image]).ok().trim_end().to_owned()
}
