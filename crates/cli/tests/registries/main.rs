//! The program and registries: who may come in, which way leads there, what comes back when things go wrong.
#![allow(clippy::unwrap_used, reason = "a test")]

mod disk;
mod lists;
mod login;
mod tags;
mod ways;

use strata_testkit::Machine;
use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;

/// An image of one small file.
fn small(name: &str) -> Image {
    Image::new().layer(Tar::new().file(name, 0o644, name.as_bytes()).finish(), Compression::Gzip)
}

/// Bytes that do not compress.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| random()).collect()
}

/// Loads an image under a name.
fn load(machine: &Machine, image: &Image, name: &str) {
    std::fs::write(machine.dir().join("image.tar"), image.docker_archive(name)).unwrap();
    machine.strata(["load", "-qi", "image.tar"]).ok();
}
