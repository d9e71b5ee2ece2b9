//! Images for other processors: run by qemu, built for several platforms at once.
#![allow(clippy::unwrap_used, reason = "a test")]

mod annotate;
mod attest;
mod build;
mod keep;
mod run;

use strata_testkit::{Machine, arm64};

/// What every test here needs.
macro_rules! need_all {
    () => {
        strata_testkit::need!(
            strata_testkit::host::root(),
            strata_testkit::host::program("busybox"),
            strata_testkit::host::program("qemu-aarch64-static")
        )
    };
}
pub(crate) use need_all;

/// A machine with the image `arm`.
fn machine() -> Machine {
    let machine = Machine::isolated();
    let archive = arm64::image().docker_archive("arm:latest");
    machine.strata_with_input(["load"], &archive).ok();
    machine
}
