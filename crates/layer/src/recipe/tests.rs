//! Tars go in, the same tars come out.

use std::fs::File;
use std::io::{Cursor, Read as _, Seek as _, Write as _};
use std::process::Command;

use proptest::prelude::*;
use strata_testkit::{host, need};
use strata_types::{DiffId, Digest, Silent};

use super::*;
use crate::collect::{any_item, file, path, with_kind};
use crate::dir::{Applier, Options, Power, Whiteouts};
use crate::tar::{Limits, Times, encode, end_of_archive, padding_bytes};
use crate::whiteout::Namespace;
use crate::{Entry, Error, Kind, Result, unpack};

const OVERLAY: Whiteouts = Whiteouts::Overlay(Namespace::Trusted);

fn tar(items: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (entry, content) in items {
        encode(entry, Times::Nanoseconds, &mut tar);
        tar.extend_from_slice(content);
        tar.resize(tar.len() + padding_bytes(content.len() as u64), 0);
    }
    tar.extend_from_slice(end_of_archive());
    tar.extend_from_slice(b"garbage after the end");
    tar
}

struct Applied {
    dir: tempfile::TempDir,
    recipe: File,
}

impl Applied {
    fn new(tar: &[u8], whiteouts: Whiteouts) -> Result<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { whiteouts, power: Power::here() };
        let applier = Applier::new(File::open(dir.path()).unwrap().into(), options)?;
        let mut recorder = Recorder::new(applier, tempfile::tempfile().unwrap())?;
        let unpacked = unpack(&mut &tar[..], &mut recorder, &Limits::GENEROUS, &Silent)?;
        Ok(Self { dir, recipe: recorder.finish(&unpacked.diff_id)? })
    }

    fn play(&mut self) -> Result<Vec<u8>> {
        self.recipe.rewind().unwrap();
        let tree = File::open(self.dir.path()).unwrap();
        let mut player = Player::new(self.recipe.try_clone().unwrap(), tree.into())?;
        let mut tar = Vec::new();
        player.read_to_end(&mut tar).map_err(Error::io("play"))?;
        Ok(tar)
    }
}

fn check(tar: &[u8]) {
    for whiteouts in [OVERLAY, Whiteouts::Execute] {
        let again = Applied::new(tar, whiteouts).unwrap().play().unwrap();
        assert!(again == tar, "{whiteouts:?}: {} bytes became {}", tar.len(), again.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_applies_plays_back(items in prop::collection::vec(any_item(), 0..8)) {
        // Entries that make no tree together are for another test.
        let tar = tar(&items);
        if let Ok(mut applied) = Applied::new(&tar, OVERLAY) {
            prop_assert!(applied.play().unwrap() == tar);
        }
    }
}

#[test]
fn what_a_tar_says_twice_is_kept() {
    need!(host::root());
    let content = |byte: u8| vec![byte; 100_000];
    check(&tar(&[
        (file("a", 100_000), content(1)),
        (with_kind("link", Kind::Hardlink { target: path("a") }), vec![]),
        (file("a", 100_000), content(2)),
        (file("dir/inside", 100_000), content(3)),
        (file("dir/deeper/inside", 100_000), content(4)),
        (file("dir", 100_000), content(5)),
        (file("dir", 100_000), content(6)),
        (file("link", 100_000), content(7)),
        (file("empty", 0), vec![]),
        (file("empty", 3), b"abc".to_vec()),
    ]));
}

#[test]
fn names_that_lead_through_links_are_found_again() {
    need!(host::root());
    check(&tar(&[
        (with_kind("usr/bin", Kind::Dir), vec![]),
        (with_kind("bin", Kind::Symlink { target: b"usr/bin".to_vec() }), vec![]),
        (file("bin/true", 4), b"true".to_vec()),
        (with_kind("bin", Kind::Dir), vec![]),
        (file("bin/true", 5), b"false".to_vec()),
    ]));
}

#[test]
fn whiteouts_with_content_are_played_back() {
    need!(host::root());
    check(&tar(&[(file(".wh.a", 5), b"noise".to_vec()), (file(".wh..wh.plnk", 3), b"abc".to_vec())]));
}

#[test]
fn sparse_tars_are_played_back() {
    need!(host::root());
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let sparse = File::create(dir.path().join("sparse")).unwrap();
    sparse.write_all_at(&[1; 4096], 1 << 20).unwrap();
    sparse.write_all_at(b"end", 3 << 20).unwrap();
    for format in ["--format=gnu", "--format=posix"] {
        let output =
            Command::new("tar").current_dir(dir.path()).args(["-c", "--sparse", format, "sparse"]).output().unwrap();
        check(&output.stdout);
    }
}

#[test]
fn a_real_directory_is_played_back() {
    need!(host::root());
    check(
        &Command::new("tar").args(["-C", "/usr/share", "-c", "common-licenses", "zoneinfo"]).output().unwrap().stdout,
    );
}

#[test]
fn a_tree_that_changed_is_an_error() {
    need!(host::root());
    let mut applied = Applied::new(&tar(&[(file("a", 5), b"hello".to_vec())]), OVERLAY).unwrap();
    let name = applied.dir.path().join("a");
    std::fs::write(&name, "HELLO").unwrap();
    assert!(matches!(applied.play(), Err(Error::Digest { .. })));
    std::fs::write(&name, "hell").unwrap();
    assert_eq!(applied.play().unwrap_err().to_string(), "cannot read `a`");
    std::fs::remove_file(&name).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &name).unwrap();
    assert_eq!(applied.play().unwrap_err().to_string(), "cannot open `a`");
}

#[test]
fn a_damaged_recipe_is_an_error() {
    need!(host::root());
    let tar = tar(&[(file("a", 5), b"hello".to_vec())]);
    let mut applied = Applied::new(&tar, OVERLAY).unwrap();
    applied.recipe.rewind().unwrap();
    let mut recipe = Vec::new();
    applied.recipe.read_to_end(&mut recipe).unwrap();
    for at in 0..recipe.len() {
        let mut damaged = recipe.clone();
        damaged[at] ^= 0x20;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&damaged).unwrap();
        applied.recipe = file;
        // A few bits mean nothing, such as the size of the decoder's window.
        assert!(applied.play().map_or(true, |again| again == tar), "at {at}");
    }
    let plain = zstd::decode_all(Cursor::new(&recipe)).unwrap();
    for end in 0..plain.len() - 1 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&zstd::encode_all(&plain[..end], 1).unwrap()).unwrap();
        applied.recipe = file;
        assert!(applied.play().is_err(), "cut at {end}");
    }
}

#[test]
fn the_recipe_says_which_digest_it_has() {
    need!(host::root());
    let tar = tar(&[(file("a", 5), b"hello".to_vec())]);
    let mut applied = Applied::new(&tar, OVERLAY).unwrap();
    applied.recipe.rewind().unwrap();
    let plain = zstd::decode_all(&applied.recipe).unwrap();
    let expected = DiffId::new(Digest::sha256(&tar)).to_string();
    assert!(plain.ends_with(expected.as_bytes()));
}
