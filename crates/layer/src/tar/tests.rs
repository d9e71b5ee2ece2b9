//! The reader against the writer, against GNU tar, and against damage.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::collect::{Collect, any_item, file, path, with_kind};
use crate::{Entry, Error, Kind, Result, Time};

fn read(tar: &[u8]) -> Result<Collect> {
    read_in_pieces(tar, tar.len().max(1))
}

fn read_in_pieces(tar: &[u8], piece: usize) -> Result<Collect> {
    read_limited(tar, piece, &Limits::GENEROUS)
}

fn read_limited(tar: &[u8], piece: usize, limits: &Limits) -> Result<Collect> {
    let mut collect = Collect::default();
    let mut parser = Parser::new(limits);
    for chunk in tar.chunks(piece) {
        parser.feed(chunk, &mut collect)?;
    }
    parser.finish()?;
    Ok(collect)
}

fn write(items: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (entry, content) in items {
        encode(entry, Times::Nanoseconds, &mut tar);
        tar.extend_from_slice(content);
        tar.resize(tar.len() + padding_bytes(content.len() as u64), 0);
    }
    tar.extend_from_slice(end_of_archive());
    tar
}

/// A header as some program might write it.
fn raw(name: &[u8], kind: u8, size: u64) -> Block {
    let mut block = [0u8; BLOCK_BYTES];
    block[..name.len()].copy_from_slice(name);
    field::put_octal(&mut block[field::SIZE], size);
    block[field::TYPE] = kind;
    block[field::MAGIC].copy_from_slice(field::MAGIC_USTAR);
    sign(&mut block);
    block
}

fn sign(block: &mut Block) {
    let (sum, _) = header::checksums(block);
    field::put_octal(&mut block[field::CHECKSUM][..7], sum as u64);
    block[field::CHECKSUM.end - 1] = b' ';
}

use header::Block;

/// A header of this kind with this content.
fn member(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut member = raw(name, kind, content.len() as u64).to_vec();
    member.extend_from_slice(content);
    member.resize(member.len() + padding_bytes(content.len() as u64), 0);
    member
}

fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn refused(tar: &[u8], expected: &str) {
    let error = read(tar).err().unwrap_or_else(|| panic!("not refused, expected: {expected}"));
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    assert_eq!(format!("{error}{source}"), expected);
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(items in prop::collection::vec(any_item(), 0..6), piece in 1usize..3000) {
        let tar = write(&items);
        let collect = read_in_pieces(&tar, piece).unwrap();
        let read: Vec<_> = collect.items.iter().map(|item| (item.entry.clone(), item.content.clone())).collect();
        prop_assert_eq!(read, items);
        for item in &collect.items {
            let at = item.data_offset as usize;
            prop_assert_eq!(&tar[at..at + item.content.len()], &item.content[..]);
        }
    }

    #[test]
    fn framing_and_content_are_the_whole_tar(items in prop::collection::vec(any_item(), 0..6), piece in 1usize..3000) {
        let tar = write(&items);
        let collect = read_in_pieces(&tar, piece).unwrap();
        let content: usize = collect.items.iter().map(|item| item.content.len()).sum();
        prop_assert_eq!(collect.framing.len() + content, tar.len());
    }

    #[test]
    fn damage_never_panics(
        items in prop::collection::vec(any_item(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        resign: bool,
    ) {
        let mut tar = write(&items);
        for (at, byte) in damage {
            let at = at.index(tar.len());
            tar[at] = byte;
            if resign {
                let block = at / BLOCK_BYTES * BLOCK_BYTES;
                let block: &mut Block = (&mut tar[block..block + BLOCK_BYTES]).try_into().unwrap();
                sign(block);
            }
        }
        let whole = read(&tar).map(|collect| collect.items).map_err(|error| error.to_string());
        let pieces = read_in_pieces(&tar, 100).map(|collect| collect.items).map_err(|error| error.to_string());
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..4000)) {
        let _ = read(&noise);
    }
}

/// Makes what tars can hold, and reads what GNU tar makes of it.
fn gnu_tar(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .current_dir(dir)
        .args(["--create", "--sort=name", "--owner=root:0", "--group=root:0"])
        .args(arguments)
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn tars_of_gnu_tar_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
    std::fs::create_dir_all(dir.path().join("d".repeat(120))).unwrap();
    std::fs::write(dir.path().join(&long), "content").unwrap();
    std::fs::hard_link(dir.path().join(&long), dir.path().join("z-hard")).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), dir.path().join("symlink")).unwrap();
    std::fs::write(dir.path().join("ümlaut"), [7u8; 1025]).unwrap();
    for format in ["oldgnu", "gnu", "posix"] {
        let collect = read(&gnu_tar(dir.path(), &[&format!("--format={format}")])).unwrap();
        let find = |name: &str| collect.items.iter().find(|item| item.entry.path == path(name)).unwrap();
        // Whichever comes first is the file.
        assert_eq!(find(&long).content, b"content", "{format}");
        assert_eq!(find("z-hard").entry.kind, Kind::Hardlink { target: path(&long) });
        assert_eq!(find("symlink").entry.kind, Kind::Symlink { target: "t".repeat(300).into_bytes() });
        assert_eq!(find("ümlaut").content, [7u8; 1025]);
        assert_eq!(find("./").entry.kind, Kind::Dir);
    }
}

#[test]
fn names_split_by_ustar_are_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{}/{}", "d".repeat(90), "f".repeat(90));
    std::fs::create_dir_all(dir.path().join("d".repeat(90))).unwrap();
    std::fs::write(dir.path().join(&name), "content").unwrap();
    let collect = read(&gnu_tar(dir.path(), &["--format=ustar"])).unwrap();
    assert!(collect.items.iter().any(|item| item.entry.path == path(&name) && item.content == b"content"));
}

#[test]
fn sparse_files_of_gnu_tar_are_read_in_all_formats() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("sparse")).unwrap();
    let mut expected = vec![0u8; 3 << 20];
    // More extents than a header and one extension block hold.
    for at in (0..60).map(|at| (at * 48) << 10) {
        file.write_all_at(&[at as u8 | 1; 4096], at as u64).unwrap();
        expected[at..at + 4096].fill(at as u8 | 1);
    }
    file.set_len(3 << 20).unwrap();
    let formats = [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ];
    for format in formats {
        let tar = gnu_tar(dir.path(), &[&["--sparse", "--hole-detection=raw"], format].concat());
        assert!(tar.len() < 1 << 20, "{format:?} is not sparse");
        for piece in [tar.len(), 511] {
            let collect = read_in_pieces(&tar, piece).unwrap();
            let item = collect.items.iter().find(|item| item.entry.path == path("sparse")).unwrap();
            assert!(item.content == expected, "{format:?}");
            assert!(item.ended);
            let at = item.data_offset as usize;
            assert_eq!(tar[at..at + 4096], expected[..4096], "{format:?}");
        }
    }
}

#[test]
fn exact_times_of_pax_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("old");
    std::fs::write(&name, "").unwrap();
    assert!(Command::new("touch").arg("-d").arg("1969-12-31T23:59:58.25Z").arg(&name).status().unwrap().success());
    let collect = read(&gnu_tar(dir.path(), &["--format=posix"])).unwrap();
    let item = collect.items.iter().find(|item| item.entry.path == path("old")).unwrap();
    assert_eq!(item.entry.mtime, Time { seconds: -2, nanoseconds: 250_000_000 });
    let collect = read(&gnu_tar(dir.path(), &["--format=gnu"])).unwrap();
    let item = collect.items.iter().find(|item| item.entry.path == path("old")).unwrap();
    assert_eq!(item.entry.mtime.seconds, -2);
}

#[test]
fn what_we_write_gnu_tar_reads() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
    let mut dir = with_kind(&"d".repeat(120), Kind::Dir);
    dir.mode = 0o755;
    let mut old = file("old", 3);
    old.mtime = Time { seconds: -2, nanoseconds: 250_000_000 };
    let tar = write(&[(dir, vec![]), (file(&long, 7), b"content".to_vec()), (old, b"abc".to_vec())]);
    let target = tempfile::tempdir().unwrap();
    let archive = target.path().join("archive.tar");
    std::fs::write(&archive, tar).unwrap();
    let output =
        Command::new("tar").arg("-C").arg(target.path()).args(["--extract", "--file"]).arg(&archive).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(target.path().join(long)).unwrap(), b"content");
    use std::os::unix::fs::MetadataExt;
    let old = std::fs::metadata(target.path().join("old")).unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 250_000_000));
}

#[test]
fn what_is_written_has_the_same_digest_for_ever() {
    let mut entry = file("usr/bin/ü", 2);
    entry.uid = 3_000_000;
    entry.xattrs = vec![crate::Xattr { name: b"user.a".to_vec(), value: b"\0b".to_vec() }];
    let tar = write(&[(with_kind("usr", Kind::Dir), vec![]), (entry, b"hi".to_vec())]);
    let digest = strata_types::Digest::sha256(&tar).to_string();
    insta::assert_snapshot!(digest, @"sha256:d2b8250ace5d10874d6de9d983ef4c9961e4def3f1f548a37ad049047128da82");
}

#[test]
fn a_tar_without_its_end_is_read_as_docker_does() {
    let whole = write(&[(file("a", 5), b"hello".to_vec())]);
    let without_end = &whole[..whole.len() - 1024];
    assert_eq!(read(without_end).unwrap().items.len(), 1);
    refused(&without_end[..BLOCK_BYTES + 5], "the tar ends in the middle of `a`");
    assert_eq!(read(&[]).unwrap().items.len(), 0);
    assert_eq!(read(&whole[..whole.len() - 512]).unwrap().items.len(), 1);
}

#[test]
fn whatever_follows_the_end_is_ignored() {
    let mut tar = write(&[(file("a", 5), b"hello".to_vec())]);
    tar.extend_from_slice(b"garbage");
    tar.extend_from_slice(&member(b"hidden", b'0', b"x"));
    let collect = read(&tar).unwrap();
    assert_eq!(collect.items.len(), 1);
    assert_eq!(collect.framing.len() + 5, tar.len());
}

#[test]
fn a_tar_cut_inside_an_entry_is_refused() {
    let tar = write(&[(file("a", 5), b"hello".to_vec())]);
    refused(&tar[..BLOCK_BYTES + 3], "the tar ends in the middle of `a`");
    refused(&tar[..100], "the tar ends in the middle of `byte 100`");
    refused(&member(b"x", b'x', &pax("path", b"b")), "the tar ends in the middle of `byte 1024`");
}

#[test]
fn malformed_headers_are_refused() {
    refused(&[b'x'; 512], "invalid tar entry `byte 512`: the checksum is not a number");
    let mut block = raw(b"name", b'0', 0);
    block[0] = b'm';
    refused(&block, "invalid tar entry `byte 512`: the checksum is wrong: this is not a tar header");
    refused(&raw(b"name", b'Z', 0), "invalid tar entry `name`: its type is unknown");
    refused(&raw(b"name", b'2', 0), "invalid tar entry `name`: a symbolic link to nothing");
    refused(&raw(b"./", b'0', 0), "invalid tar entry `./`: the layer's root is not a directory");
    let mut negative = raw(b"name", b'0', 0);
    negative[field::SIZE].fill(0xff);
    sign(&mut negative);
    refused(&negative, "invalid tar entry `byte 512`: the size is negative");
    let mut owner = raw(b"name", b'0', 0);
    owner[field::UID].fill(0xff);
    sign(&mut owner);
    refused(&owner, "invalid tar entry `name`: the owner is out of range");
    let after_zeros = [&[0u8; 512][..], &raw(b"late", b'0', 0)].concat();
    refused(&after_zeros, "invalid tar entry `byte 1024`: a header follows a block of zeros");
}

#[test]
fn names_that_leave_the_root_are_refused() {
    refused(&raw(b"../a", b'0', 0), "cannot use the name `../a` from the tar: the name leaves the layer's root");
    let mut link = raw(b"a", b'1', 0);
    link[field::LINK][..9].copy_from_slice(b"../../etc");
    sign(&mut link);
    refused(&link, "cannot use the name `../../etc` from the tar: the name leaves the layer's root");
    let tar = [member(b"x", b'x', &pax("path", b"a/../../b")), raw(b"a", b'0', 0).to_vec()].concat();
    refused(&tar, "cannot use the name `a/../../b` from the tar: the name leaves the layer's root");
    let long = [member(b"x", b'L', &[b'n'; 300]), raw(b"a", b'0', 0).to_vec()].concat();
    let error = read(&long).err().unwrap();
    assert!(matches!(error, Error::Path { source: crate::PathProblem::NameLength, .. }));
}

#[test]
fn limits_are_named_when_they_are_passed() {
    let check = |tar: &[u8], limits: Limits, expected: &str| {
        let error = read_limited(tar, 1000, &limits).err().unwrap();
        assert_eq!(error.to_string(), format!("refused the layer at {expected}"));
    };
    let generous = Limits::GENEROUS;
    let huge = raw(b"x", b'x', 4 << 30);
    let expected = "`byte 512`: the size of extension headers exceeds the limit of 1048576";
    check(&huge, generous, expected);
    let endless: Vec<u8> = (0..3000).flat_map(|_| member(b"x", b'L', &[b'n'; 400])).collect();
    let error = read(&endless).err().unwrap();
    assert!(matches!(error, Error::Limit { what: "the size of extension headers", .. }));
    let two = write(&[(file("a", 0), vec![]), (file("b", 0), vec![])]);
    check(&two, Limits { entries: 1, ..generous }, "`b`: the number of entries exceeds the limit of 1");
    let expected = "`b`: the size of all names and attributes exceeds the limit of 1";
    check(&two, Limits { names_bytes: 1, ..generous }, expected);
    let deep = write(&[(file("a/b/c", 0), vec![])]);
    check(&deep, Limits { depth: 2, ..generous }, "`a/b/c`: its depth exceeds the limit of 2");
}

#[test]
fn global_records_hold_for_all_entries_but_rename_none() {
    let global = [pax("uid", b"7"), pax("path", b"evil"), pax("size", b"99")].concat();
    let tar = [member(b"g", b'g', &global), raw(b"a", b'0', 0).to_vec(), raw(b"b", b'0', 0).to_vec()].concat();
    let items = read(&tar).unwrap().items;
    let seen: Vec<_> = items.iter().map(|item| (item.entry.path.clone(), item.entry.uid)).collect();
    assert_eq!(seen, [(path("a"), 7), (path("b"), 7)]);
}

#[test]
fn kinds_that_are_no_part_of_a_layer_are_passed_over() {
    let tar = [member(b"label", b'V', b"x"), member(b"dir/", b'D', b"Yname\0"), member(b"c", b'7', b"hi")].concat();
    let items = read(&tar).unwrap().items;
    let kinds: Vec<_> = items.iter().map(|item| (&item.entry.path, &item.entry.kind)).collect();
    let contiguous = Kind::File { size_bytes: 2, sparse: None };
    assert_eq!(kinds, [(&path("dir"), &Kind::Dir), (&path("c"), &contiguous)]);
}

#[test]
fn links_and_directories_have_no_content_whatever_their_size_says() {
    let mut link = raw(b"l", b'1', 4096);
    link[field::LINK][..1].copy_from_slice(b"a");
    sign(&mut link);
    let tar = [&link[..], &raw(b"d", b'5', 4096), &raw(b"f", b'6', 1)].concat();
    assert_eq!(read(&tar).unwrap().items.len(), 3);
}

#[test]
fn an_aligned_entry_is_the_same_entry_with_its_content_at_a_block() {
    let entry = |name: &str, xattr: usize, nanoseconds| Entry {
        path: path(name),
        kind: Kind::File { size_bytes: 5, sparse: None },
        mode: 0o640,
        uid: 1,
        gid: 2,
        mtime: Time { seconds: 9, nanoseconds },
        xattrs: (xattr > 0)
            .then(|| crate::Xattr { name: b"user.x".to_vec(), value: vec![b'v'; xattr] })
            .into_iter()
            .collect(),
    };
    let long = "n".repeat(200);
    for (name, xattr, nanoseconds) in [("a", 0, 0), ("b", 0, 7), (long.as_str(), 0, 0), ("c", 450, 0), ("d", 470, 0)] {
        let entry = entry(name, xattr, nanoseconds);
        for position in (0..4096).step_by(512) {
            let mut tar = vec![0; position];
            super::encode_aligned(&entry, Times::Nanoseconds, position as u64, 4096, &mut tar);
            let content = tar.len();
            assert_eq!(content % 4096, 0, "{name} at {position}");
            assert!(content - position <= 4096 + 1024, "{name} at {position} takes {content}");
            tar.extend_from_slice(b"hello");
            tar.resize(tar.len() + 507, 0);
            tar.extend_from_slice(end_of_archive());
            let items = read(&tar[position..]).unwrap().items;
            let seen: Vec<_> = items.into_iter().map(|item| (item.entry, item.content)).collect();
            assert_eq!(seen, [(entry.clone(), b"hello".to_vec())], "at {position}");
        }
    }
}
