//! Images for other processors: run by qemu, built for several platforms at once.
#![allow(clippy::unwrap_used, reason = "a test")]

mod attest;
mod build;
mod run;

use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;
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

/// An image for 64-bit ARM: its one program as `/hello`, and as `/other`.
fn arm_image() -> Image {
    let program = arm64::program();
    let tar = Tar::new().file("hello", 0o755, &program).file("other", 0o755, &program);
    let mut image = Image::new().layer(tar.finish(), Compression::Gzip).with("Cmd", serde_json::json!(["/hello"]));
    image.config["architecture"] = "arm64".into();
    image
}

/// A machine with the image `arm`.
fn machine() -> Machine {
    let machine = Machine::isolated();
    let archive = arm_image().docker_archive("arm:latest");
    machine.strata_with_input(["load"], &archive).ok();
    machine
}
