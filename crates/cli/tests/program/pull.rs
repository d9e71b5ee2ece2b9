//! Pulling from a registry that has bad days.

use std::process::Stdio;

use strata_testkit::image::{Compression, Image};
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};
use strata_types::Digest;

use crate::strata;

/// A layer that does not compress well, and its digest as it travels.
fn layer() -> (Vec<u8>, Digest) {
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let content: Vec<u8> = (0..3_000_000).map(|_| random()).collect();
    let tar = Tar::new().file("big", 0o644, &content).finish();
    let digest = Digest::sha256(&tar);
    (tar, digest)
}

fn image() -> (Image, Digest) {
    let (tar, digest) = layer();
    (Image::new().layer(tar, Compression::Plain), digest)
}

#[test]
fn every_line_in_a_pipe_says_which_layer() {
    need!(host::root());
    let dir = tempfile::tempdir().unwrap();
    let registry = MockRegistry::start();
    let (image, layer) = image();
    let digest = registry.put_image("app", "1", &image);
    let name = format!("{}/app:1", registry.host());
    let output = strata(&dir).args(["pull", &name]).output().unwrap();
    let id = layer.short();
    let expected = format!(
        "1: Pulling from app\n{id}: Pulling fs layer\n{id}: Verifying Checksum\n{id}: Download complete\n\
         {id}: Pull complete\nDigest: {digest}\nStatus: Downloaded newer image for {name}\n{name}\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_pull_that_was_killed_goes_on_where_it_stood() {
    need!(host::root());
    let dir = tempfile::tempdir().unwrap();
    let registry = MockRegistry::start();
    let (image, layer) = image();
    registry.put_image("app", "1", &image);
    let name = format!("{}/app:1", registry.host());
    let target = format!("/blobs/{layer}");
    registry.rule("GET", &target, 1, Act::CutAfter(2_000_000));
    registry.rule("GET", &target, 1, Act::Hang);
    let mut child = strata(&dir).args(["pull", &name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The second request goes on from the byte where the first broke, so what came before is on the disk by then.
    registry.wait_for("GET", &target, 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let before = registry.seen().len();
    let output = strata(&dir).args(["pull", "-q", &name]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = registry.seen().into_iter().skip(before).find(|seen| seen.target.contains(&target)).unwrap();
    assert_eq!(asked.header("range"), Some("bytes=2000000-"));
    let check = strata(&dir).args(["check"]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn what_is_wrong_leaves_nothing_behind() {
    need!(host::root());
    let dir = tempfile::tempdir().unwrap();
    let registry = MockRegistry::start();
    let (image, layer) = image();
    registry.put_image("app", "1", &image);
    let name = format!("{}/app:1", registry.host());
    let size = self::layer().0.len();
    for (act, told) in [(Act::Replace(vec![0; size]), "digest"), (Act::Replace(vec![0; 9]), "sent 9 bytes")] {
        registry.rule("GET", &format!("/blobs/{layer}"), 1, act);
        let output = strata(&dir).args(["pull", "-q", &name]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(told), "{error}");
        let images = strata(&dir).args(["images", "-qa"]).output().unwrap();
        assert_eq!(images.stdout, b"");
    }
    let output = strata(&dir).args(["pull", "-q", &name]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
