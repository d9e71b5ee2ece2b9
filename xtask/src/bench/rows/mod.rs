//! What is measured, one file each. A new row is a function `&Bench -> Table` and a line here.

mod archive;
mod build;
mod commit;
mod deep;
mod drivers;
mod memory;
mod network;
mod pull;
mod run;
mod size;
mod space;
mod users;

use crate::bench::Bench;
use crate::bench::report::Table;
use crate::shell::Done;

/// A row of the page.
pub(crate) struct Row {
    /// On the command line.
    pub(crate) name: &'static str,
    /// For the usage text.
    pub(crate) about: &'static str,
    pub(crate) measure: fn(&Bench) -> Done<Table>,
}

/// In the page's order.
pub(crate) const ALL: &[Row] = &[
    Row { name: "pull", about: "a large image from a registry on loopback", measure: pull::measure },
    Row { name: "run", about: "`run --rm --network none debian true`", measure: run::measure },
    Row { name: "network", about: "`run --rm -p PORT:80 debian true`", measure: network::measure },
    Row { name: "hundred", about: "a hundred idle containers with a port each", measure: network::hundred },
    Row { name: "users", about: "`run --userns auto`, beside a run without", measure: users::measure },
    Row { name: "commit-small", about: "a container with one changed file", measure: commit::small },
    Row { name: "commit-big", about: "a container with 20,000 new files", measure: commit::big },
    Row { name: "snapshot", about: "a running container with 100 changed files", measure: commit::snapshot },
    Row { name: "forks", about: "ten forks of a container, beside one start", measure: commit::forks },
    Row { name: "memory", about: "idle containers and daemons", measure: memory::measure },
    Row { name: "size", about: "the program itself", measure: size::measure },
    Row { name: "build-ten", about: "ten steps of a Dockerfile, nothing remembered", measure: build::ten },
    Row { name: "build-cached", about: "the same, all of it remembered", measure: build::cached },
    Row { name: "build-context", about: "a context of 20,000 files, one of them changed", measure: build::context },
    Row { name: "build-stages", about: "four stages at once", measure: build::stages },
    Row { name: "save", about: "an image into an archive", measure: archive::save },
    Row { name: "load", about: "an archive into an empty store", measure: archive::load },
    Row { name: "remove", about: "an image of 25,000 files", measure: space::remove },
    Row {
        name: "after-removal",
        about: "a cold pull right after 100,000 files were removed",
        measure: space::after_removal,
    },
    Row { name: "corpus", about: "what all images take on the disk", measure: space::corpus },
    Row { name: "fifty", about: "what fifty images that differ in a few files take", measure: space::fifty },
    Row { name: "deep", about: "a cold walk of 120 layers, beside 14", measure: deep::walk },
    Row {
        name: "drivers",
        about: "every storage driver that works here, beside docker's overlay2",
        measure: drivers::measure,
    },
    Row { name: "chain", about: "a thousand commits, each on the one before", measure: deep::chain },
];
