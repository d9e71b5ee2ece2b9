//! What COPY and ADD take, and where it comes to lie: the cases of BuildKit's own tests.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{build, machine, need_all, sh};

/// Every file below `/out` but for what the base has.
const FIND: &str = "cd /out && find . -mindepth 2 ! -type d | sed 's|^./||' | sort | tr '\\n' ' '";

#[test]
fn what_is_excluded_is_seen_from_the_directory_that_is_copied() {
    need_all!();
    let names = [
        "dir1/101.png",
        "dir1/102.txt",
        "dir1/103.jpeg",
        "dir2/201.pdf",
        "dir2/202.jpeg",
        "dir2/203.png",
        "dir3/301.mp3",
        "dir3/302.mpeg",
        "dir4/401.txt",
        "bar/foo",
        "bar/baz/foo3",
        "foo2",
    ];
    let machine = machine(&names.map(|name| (name, name)));
    symlink("401.txt", machine.dir().join("ctx/dir4/402.txt")).unwrap();
    symlink("404.txt", machine.dir().join("ctx/dir4/403.txt")).unwrap();
    std::fs::write(machine.dir().join("ctx/.dockerignore"), "bar\nfoo2\n").unwrap();
    let file = "FROM base\n\
        COPY --exclude=*/*.png --exclude=*/*.jpeg . /out/1\n\
        COPY --exclude=*/*.pdf --exclude=*/*.txt . /out/2\n\
        ADD --exclude=*.mp3 dir3/ /out/3/\n\
        COPY --exclude=*.mp3 --exclude=*.jpeg --exclude=*.png --exclude=*.pdf --exclude=*.txt dir* /out/4/\n\
        ADD --exclude=*.mp* --exclude=*.jpeg --exclude=*.png --exclude=*.pdf dir* /out/5\n\
        ADD --exclude=* dir* /out/6\n";
    build(&machine, file, &["-t", "app"]).ok();
    let found = sh(&machine, "app", FIND);
    let expected = "1/.dockerignore 1/dir1/102.txt 1/dir2/201.pdf 1/dir3/301.mp3 1/dir3/302.mpeg 1/dir4/401.txt 1/dir4/402.txt 1/dir4/403.txt \
        2/.dockerignore 2/dir1/101.png 2/dir1/103.jpeg 2/dir2/202.jpeg 2/dir2/203.png 2/dir3/301.mp3 2/dir3/302.mpeg \
        3/302.mpeg 4/302.mpeg 5/102.txt 5/401.txt 5/402.txt 5/403.txt ";
    assert_eq!(found, expected);
    assert_eq!(sh(&machine, "app", "ls -A /out/6"), "");

    // What is excluded and taken back.
    std::fs::remove_file(machine.dir().join("ctx/.dockerignore")).unwrap();
    let file = "FROM base\n\
        COPY --exclude=dir* --exclude=bar* --exclude=!bar/baz . /out/1\n\
        COPY --exclude=** --exclude=!bar/baz . /out/2\n\
        COPY --exclude=** --exclude=!bar/baz --exclude=bar/baz/foo3 . /out/3\n\
        COPY --exclude=dir* --exclude=**/foo3 . /out/4\n\
        COPY --exclude=dir* --exclude=bar/baz . /out/5\n";
    build(&machine, file, &["-t", "app"]).ok();
    let expected = "1/bar/baz/foo3 1/foo2 2/bar/baz/foo3 4/bar/foo 4/foo2 5/bar/foo 5/foo2 ";
    assert_eq!(sh(&machine, "app", FIND), expected);
    assert_eq!(sh(&machine, "app", "ls -A /out/3/bar/baz; ls -A /out/5/bar"), "foo\n");
}

#[test]
fn what_is_excluded_is_seen_from_the_pivot() {
    need_all!();
    let names = ["src/a.txt", "src/x/b.txt", "src/x/y/c.txt", "src/x/y/d.md"];
    let machine = machine(&names.map(|name| (name, name)));
    let file = "FROM base\n\
        COPY --parents --exclude=*.txt src/a.txt /out/1/\n\
        COPY --parents --exclude=src/x/b.txt src /out/2/\n\
        COPY --parents --exclude=**/c.txt ./src/**/*.txt /out/3/\n\
        COPY --parents --exclude=x/b.txt ./src/./x /out/4/\n\
        COPY --parents --exclude=b.txt ./src/./x /out/5/\n\
        COPY --parents --exclude=src/x ./src/**/*.txt /out/6/\n\
        COPY --parents --exclude=src --exclude=!src/x/y src/ /out/7/\n";
    build(&machine, file, &["-t", "app"]).ok();
    let expected = "1/src/a.txt 2/src/a.txt 2/src/x/y/c.txt 2/src/x/y/d.md 3/src/a.txt 3/src/x/b.txt 4/x/y/c.txt 4/x/y/d.md \
        5/x/b.txt 5/x/y/c.txt 5/x/y/d.md 6/src/a.txt 7/src/x/y/c.txt 7/src/x/y/d.md ";
    assert_eq!(sh(&machine, "app", FIND), expected);
}

#[test]
fn parents_come_along_from_the_pivot_on() {
    need_all!();
    let machine = machine(&[("foo1/foo2/bar", "testing"), ("foo1/foo2/baz", "testing2")]);
    let private = |name: &str| {
        let path = machine.dir().join("ctx").join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    };
    private("foo1");
    private("foo1/foo2");
    let file = "FROM base AS base\n\
        WORKDIR /test\n\
        RUN mkdir -p a/b/c/d/e a/b2/c/d/e a/b/c2/d/e a/b/c2/d/e2 && touch a/b/c/d/foo a/b/c/d/e/bay a/b2/c/d/e/bar a/b/c2/d/e/baz a/b/c2/d/e2/baz\n\
        FROM base AS end\n\
        COPY --from=base --parents /test/a/b/./c/d /out/1/\n\
        COPY --from=base --parents /test/a/b/c/d/. /out/2/\n\
        COPY --from=base --parents ./test/a/b/c/d /out/3/\n\
        COPY --from=base --parents /test/a/./b/./c /out/4/\n\
        COPY --from=base --parents /test/a/./*/c /out/5/\n\
        COPY --from=base --parents /test/a/b*/./c/**/e /out/6/\n\
        COPY --from=base --parents /test/a/b/c*/./d/**/baz /test/a/b*/./c/**/bar /out/7/\n\
        COPY --from=base --parents /test/a/b2*/x /test/a/b/./c3* /out/8/\n\
        RUN mkdir -p /out/9/foo1 && chmod 1777 /out/9/foo1 && chown 7:8 /out/9/foo1\n\
        COPY --parents --chown=5 foo1/foo2/bar /out/9/\n\
        WORKDIR /out/10\n\
        COPY --parents --chmod=750 foo1/foo2/ba* .\n";
    build(&machine, file, &["-t", "app"]).ok();
    let expected = "1/c/d/e/bay 1/c/d/foo 10/foo1/foo2/bar 10/foo1/foo2/baz 2/test/a/b/c/d/e/bay 2/test/a/b/c/d/foo \
        3/test/a/b/c/d/e/bay 3/test/a/b/c/d/foo 4/b/c/d/e/bay 4/b/c/d/foo 5/b/c/d/e/bay 5/b/c/d/foo 5/b2/c/d/e/bar \
        6/c/d/e/bar 6/c/d/e/bay 7/c/d/e/bar 7/d/e/baz 7/d/e2/baz 9/foo1/foo2/bar ";
    assert_eq!(sh(&machine, "app", FIND), expected);
    // They are as they were; those that are there get the permissions, and keep their owner.
    let stat = sh(&machine, "app", "stat -c '%n %a %u' /out/9/foo1 /out/9/foo1/foo2 /out/10/foo1 /out/10/foo1/foo2");
    let expected = "/out/9/foo1 700 7\n/out/9/foo1/foo2 700 5\n/out/10/foo1 750 0\n/out/10/foo1/foo2 750 0\n";
    assert_eq!(stat, expected);
    assert_eq!(sh(&machine, "app", "ls -A /out/8"), "");
    let file = "FROM base\nCOPY --from=base --parents /test/nonexistent-file /out/\n";
    let error = build(&machine, file, &[]).fails(1);
    assert!(error.contains("\"/test/nonexistent-file\": not found"), "{error}");
    // A directory on the way that is another is another step.
    std::fs::set_permissions(machine.dir().join("ctx/foo1"), std::fs::Permissions::from_mode(0o711)).unwrap();
    build(&machine, "FROM base\nCOPY --parents foo1/foo2/bar /\n", &["-t", "app"]).ok();
    assert_eq!(sh(&machine, "app", "stat -c %a /foo1 /foo1/foo2"), "711\n700\n");
}

#[test]
fn directories_that_a_copy_makes_have_its_mode_and_owner() {
    need_all!();
    let machine = machine(&[("foo", "foo"), ("dir/bar", "bar")]);
    std::fs::set_permissions(machine.dir().join("ctx/foo"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = "FROM base\n\
        COPY --chmod=0644 foo /\n\
        COPY --chmod=0 foo /foobis\n\
        COPY --chmod=777 foo /parent/foo\n\
        COPY --chmod=770 --chown=:wheel foo /parent/sub/foo\n\
        COPY --chmod=u+x foo /letters/foo\n\
        COPY --chmod=751 --chown=7:8 dir /new/dir\n";
    build(&machine, file, &["-t", "app"]).ok();
    let paths =
        "/foo /foobis /parent /parent/foo /parent/sub /parent/sub/foo /letters /letters/foo /new /new/dir /new/dir/bar";
    let stat = sh(&machine, "app", &format!("stat -c '%n %a %u:%g' {paths}"));
    let expected = "/foo 644 0:0\n/foobis 0 0:0\n/parent 777 0:0\n/parent/foo 777 0:0\n/parent/sub 770 0:10\n/parent/sub/foo 770 0:10\n\
        /letters 755 0:0\n/letters/foo 700 0:0\n/new 751 7:8\n/new/dir 751 7:8\n/new/dir/bar 751 7:8\n";
    assert_eq!(stat, expected);
}
