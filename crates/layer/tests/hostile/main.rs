//! Damaged and hostile layers: each is refused in words, or becomes an image that `fsck.erofs` finds sound, that the kernel
//! mounts, and that shows the tree which the same tar makes in a directory, by our hand and, where it has nothing to complain
//! of, by GNU tar's.
//!
//! A few hundred cases are tried, always the same ones. `STRATA_FUZZ_SECONDS=600` goes on with others for so long, and
//! `STRATA_FUZZ_CASE=N` tries one alone and leaves its tar in `target/…/tmp/hostile.tar`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod layer;
mod mutate;
mod seeds;
mod stack;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use layer::{Layer, Refused};
use mutate::{Dice, mutate};
use strata_testkit::{host, need, private};

/// How many cases are tried in an ordinary run.
const CASES: usize = 250;
/// The variable that names the only case wanted.
const ALONE: &str = "STRATA_FUZZ_CASE";
/// Where the directories are made: a filesystem without limits of its own on times and attributes.
const SCRATCH: &str = "/run/scratch";

/// Tries cases one after the other; says how many of them became images.
fn try_cases(check: impl Fn(&mut Dice) -> Result<(), Refused>) -> (usize, usize) {
    let variable = |name| std::env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let mut taken = (0, 0);
    let mut run = |number: usize| match catch_unwind(AssertUnwindSafe(|| check(&mut Dice::new(number as u64)))) {
        Ok(verdict) => {
            taken.0 += usize::from(verdict.is_ok());
            taken.1 += 1;
        }
        Err(panic) => {
            eprintln!("this was case {number}: {ALONE}={number} tries it alone");
            resume_unwind(panic);
        }
    };
    if let Some(number) = variable(ALONE) {
        run(number);
        return taken;
    }
    (0..CASES).for_each(&mut run);
    if let Some(seconds) = variable("STRATA_FUZZ_SECONDS") {
        let end = Instant::now() + Duration::from_secs(seconds as u64);
        (CASES..).take_while(|_| Instant::now() < end).for_each(&mut run);
    }
    eprintln!("{} of {} became images", taken.0, taken.1);
    taken
}

/// A mount namespace of its own with a place for trees.
fn place() -> tempfile::TempDir {
    private::mounts();
    std::fs::create_dir_all(SCRATCH).unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "tmpfs", SCRATCH]).status().unwrap().success());
    tempfile::tempdir_in(SCRATCH).unwrap()
}

#[test]
fn a_hostile_tar_is_refused_or_becomes_a_sound_image() {
    need!(host::root(), host::filesystem("erofs"), host::fsck_erofs(), host::program("tar"));
    let scratch = place();
    let seeds = seeds::all(scratch.path());
    layer::assert_fsck_judges(&seeds[0]);
    let (images, all) = try_cases(|dice| {
        let tar = mutate(dice.one(&seeds).as_slice(), dice);
        if std::env::var_os(ALONE).is_some() {
            std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/hostile.tar"), &tar).unwrap();
        }
        check(&tar, scratch.path())
    });
    assert!(all == 1 || images * 10 > all && images * 10 < all * 9, "{images} of {all} say little");
}

/// What has to hold of any bytes.
fn check(tar: &[u8], scratch: &Path) -> Result<(), Refused> {
    let applied = layer::applied(tar, scratch);
    let layer = match Layer::new(tar) {
        Ok(layer) => layer,
        Err(refused) => {
            refused.assert_in_words();
            return Err(refused);
        }
    };
    layer.fsck();
    let mounted = layer.mounted();
    layer::assert_same(&layer.read(), &mounted, "by the reader");
    match applied {
        Ok(tree) => layer::assert_same(&mounted, &tree, "mounted beside the directory"),
        Err(refused) => refused.assert_in_words(),
    }
    if let Some(tree) = layer::by_gnu_tar(tar, scratch) {
        layer::assert_same(&layer::as_tar_sees(mounted), &layer::as_tar_sees(tree), "mounted beside GNU tar's");
    }
    Ok(())
}

#[test]
fn hostile_layers_laid_out_as_one_show_what_overlayfs_shows() {
    need!(host::root(), host::filesystem("erofs"), host::fsck_erofs(), host::program("tar"));
    let scratch = place();
    let seeds = seeds::all(scratch.path());
    try_cases(|dice| {
        let mut below = || Layer::new(&mutate(dice.one(&seeds).as_slice(), dice));
        let layers = [below()?, below()?, below()?];
        stack::check(&layers);
        Ok(())
    });
}

/// An index that the disk has damaged never makes us panic, whatever is asked of it.
#[test]
fn a_damaged_index_never_panics() {
    need!(host::root(), host::program("tar"));
    let scratch = place();
    let seeds = seeds::all(scratch.path());
    try_cases(|dice| {
        let layer = Layer::new(dice.one(&seeds).as_slice())?;
        layer.damage(dice);
        layer.look_at_all();
        Ok(())
    });
}
