//! Layers and branches as a kernel with aufs makes and reads them, without one.

use std::os::unix::fs::symlink;

use strata_layer::diff::ChangeKind;
use strata_testkit::tar::Tar;
use strata_testkit::{host, need};
use strata_types::Silent;
use strata_types::mount::Upper;

use super::*;

/// Layers in directories of their own.
fn fill(dir: &Path, tars: &[Vec<u8>]) -> Vec<PathBuf> {
    let fill = |(number, tar): (usize, &Vec<u8>)| {
        let layer = dir.join(format!("layer{number}"));
        std::fs::create_dir(&layer).unwrap();
        Aufs.fill(&layer, &[], Source { tar: &mut &tar[..], shares: None }, &Silent).unwrap();
        let mut again = Vec::new();
        Aufs.tar(&layer).unwrap().read_to_end(&mut again).unwrap();
        assert!(again == *tar, "another tar came back");
        layer
    };
    tars.iter().enumerate().map(fill).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(dir).unwrap().display().to_string());
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

fn base() -> Vec<u8> {
    let tar = Tar::new().dir("etc/").file("etc/motd", 0o644, b"hello").file("etc/shadow", 0o600, b"secret");
    tar.dir("old/").file("old/a", 0o644, b"a").dir("usr/").file("usr/tool", 0o755, b"tool").finish()
}

#[test]
fn marks_lie_in_a_layer_as_aufs_reads_them() {
    need!(host::root());
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::new()
        .file("etc/.wh.shadow", 0o644, b"")
        .file("old/.wh..wh..opq", 0o644, b"")
        // What is gone and comes again hides what is below, and must not be hidden by the mark.
        .file(".wh.usr", 0o644, b"")
        .dir("usr/")
        .file("var/.wh.log", 0o644, b"")
        .file("var/log", 0o644, b"now a file")
        .file("tmp/x", 0o644, b"x")
        .file(".wh.tmp", 0o644, b"")
        .file(".wh..wh.plnk", 0o644, b"")
        .finish();
    let layers = fill(dir.path(), &[tar]);
    let expected = [
        "etc",
        "etc/.wh.shadow",
        "old",
        "old/.wh..wh..opq",
        "tmp",
        "tmp/.wh..wh..opq",
        "tmp/x",
        "usr",
        "usr/.wh..wh..opq",
        "var",
        "var/log",
    ];
    assert_eq!(names(&layers[0].join(FILES)), expected);
}

#[test]
fn the_plan_names_all_branches_the_uppermost_first() {
    let layers = ["/s/l/0", "/s/l/1"].map(PathBuf::from);
    let container = PathBuf::from("/s/c");
    let (empty, derived, places) = (PathBuf::from("/s/e"), PathBuf::from("/s/d"), PathBuf::from("/s/p"));
    let stack = Stack {
        layers: &layers,
        container: Some(&container),
        volatile: false,
        empty: &empty,
        derived: &derived,
        places: Some(&places),
    };
    let branch = |path: &str| Mount::Dir(PathBuf::from(path));
    let expected = Mount::Union {
        how: Union::Aufs,
        lower: vec![branch("/s/l/1/fs"), branch("/s/l/0/fs"), branch("/s/p")],
        upper: Some(Upper { dir: "/s/c/upper".into(), work: "/s/c/work".into(), volatile: false }),
    };
    assert_eq!(Aufs.mount(&stack, Access::ReadWrite).unwrap(), expected);
    let view = Stack { container: None, places: None, ..stack };
    let expected =
        Mount::Union { how: Union::Aufs, lower: vec![branch("/s/l/1/fs"), branch("/s/l/0/fs")], upper: None };
    assert_eq!(Aufs.mount(&view, Access::ReadOnly).unwrap(), expected);
}

/// A branch as a kernel with aufs left it: see docs/drivers.md.
fn use_branch(branch: &Path) {
    let path = |name: &str| branch.join(name);
    for name in ["etc", "old", ".wh..wh.orph", ".wh..wh.plnk", "usr"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    // All marks are one empty file with many names.
    std::fs::write(path(".wh..wh.aufs"), b"").unwrap();
    for mark in ["etc/.wh.shadow", "old/.wh..wh..opq", "usr/.wh.tool"] {
        std::fs::hard_link(path(".wh..wh.aufs"), path(mark)).unwrap();
    }
    // `mv usr/tool usr/renamed`, and `ln etc/motd etc/twin`, which leaves the new name and a bookkeeping one.
    std::fs::write(path("usr/renamed"), b"tool").unwrap();
    std::fs::write(path("etc/twin"), b"hello").unwrap();
    std::fs::hard_link(path("etc/twin"), path(".wh..wh.plnk/13.21")).unwrap();
    std::fs::write(path(".wh..wh.orph/lost"), b"x").unwrap();
    std::fs::write(path("old/new"), b"n").unwrap();
    symlink("new", path("old/link")).unwrap();
}

#[test]
fn a_branch_is_read_without_its_bookkeeping() {
    need!(host::root());
    let dir = tempfile::tempdir().unwrap();
    let layers = fill(dir.path(), &[base()]);
    let (container, made) = (dir.path().join("container"), dir.path().join("made"));
    Aufs.prepare(&container, &layers, None).unwrap();
    use_branch(&container.join("upper"));
    let changes = Aufs.changes(&container, &layers).unwrap();
    let lines: Vec<String> = changes.iter().map(|change| format!("{:?} {}", change.kind, change.path)).collect();
    let expected = [
        "Changed /etc",
        "Deleted /etc/shadow",
        "Added /etc/twin",
        "Changed /old",
        "Added /old/link",
        "Added /old/new",
        "Changed /usr",
        "Added /usr/renamed",
        "Deleted /usr/tool",
    ];
    assert_eq!(lines, expected);
    assert!(changes.iter().all(|change| change.kind != ChangeKind::Changed || !change.path.is_root()));

    std::fs::create_dir(&made).unwrap();
    let changes = Changes { below: &layers, container: &container, newest: None };
    Aufs.pack(&made, &changes, &Silent).unwrap();
    let mut tar = Vec::new();
    Aufs.tar(&made).unwrap().read_to_end(&mut tar).unwrap();
    let listed = strata_testkit::machine::feed(
        {
            let mut tar = std::process::Command::new("tar");
            tar.args(["-tvf", "-", "--numeric-owner"]);
            tar
        },
        &tar,
    );
    let names: Vec<String> =
        listed.ok().lines().map(|line| line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "etc/",
        "etc/.wh.shadow",
        "etc/twin",
        "old/",
        "old/.wh..wh..opq",
        "old/link -> new",
        "old/new",
        "usr/",
        "usr/.wh.tool",
        "usr/renamed",
    ];
    assert_eq!(names, expected);
    // What was committed lies in the new layer as the marks of it.
    let marks: Vec<String> = names_of_marks(&made.join(FILES));
    assert_eq!(marks, ["etc/.wh.shadow", "old/.wh..wh..opq", "usr/.wh.tool"]);
    let stack = [layers, vec![made]].concat();
    let roots = roots(&stack).unwrap();
    for (path, is_there) in [
        ("etc/motd", true),
        ("etc/shadow", false),
        ("etc/twin", true),
        ("old/a", false),
        ("old/new", true),
        ("usr/tool", false),
    ] {
        let found = lookup(&roots, &LayerPath::parse(path.as_bytes()).unwrap()).unwrap();
        assert_eq!(found.is_some(), is_there, "{path}");
    }
}

fn names_of_marks(dir: &Path) -> Vec<String> {
    names(dir).into_iter().filter(|name| name.contains(".wh.")).collect()
}
