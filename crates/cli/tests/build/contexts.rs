//! Where files come from, and where what is built goes.

use strata_testkit::image::Image;

use super::{build, inspect, machine, need_all, sh, write};

#[test]
fn a_tar_on_the_standard_input_is_a_context() {
    need_all!();
    let machine = machine(&[("f", "f\n"), ("hidden", "h\n"), (".dockerignore", "hidden\n")]);
    write(&machine, "Dockerfile", "FROM base\nCOPY . /x/\n");
    write(&machine, "other/D", "FROM base\nCOPY f /other\n");
    machine.sh("tar -C ctx -czf c.tgz . && tar -C ctx --owner=7 --group=7 -cf c.tar . && xz -k c.tar").ok();
    for (name, options) in [("c.tgz", ""), ("c.tar", ""), ("c.tar.xz", ""), ("c.tar", "-f other/D")] {
        let line = format!("strata --root store build -q --network none -t app {options} - < {name}");
        let line = line.replace("strata", strata_testkit::host::strata().to_str().unwrap());
        machine.sh(&line).ok();
        let expected = if options.is_empty() { "f\n0 0\n" } else { "f\n" };
        let seen =
            sh(&machine, "app", "cat /x/f /other 2> /dev/null; stat -c '%u %g' /x/f 2> /dev/null; ! [ -e /x/hidden ]");
        assert_eq!(seen, expected, "{name} {options}");
    }
    let refused =
        machine.strata_with_input(["build", "-f", "none", "-"], &std::fs::read(machine.dir().join("c.tar")).unwrap());
    assert!(refused.fails(1).contains("failed to read dockerfile: open none: no such file or directory\n"));
    assert!(machine.strata_with_input(["build", "-"], b"\x1f\x8bnonsense").code == 1);
}

#[test]
fn other_directories_and_images_have_names() {
    need_all!();
    let machine = machine(&[("f", "here\n")]);
    for (name, content) in [("more/f", "there\n"), ("more/hidden", "h\n"), ("more/.dockerignore", "hidden\n")] {
        let path = machine.dir().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let file = "FROM alias\nCOPY f /here\nCOPY --from=more . /there/\nRUN --mount=from=more,target=/m cat /m/f && ! [ -e /m/hidden ]\n\
                COPY --from=alias /etc/group /g\n";
    let options = ["-t", "app", "--build-context", "more=more", "--build-context", "alias=docker-image://base"];
    let ran = build(&machine, file, &options);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(sh(&machine, "app", "cat /here /there/f; ls /there; wc -l < /g"), "here\nthere\nf\n3\n");
    for (word, says) in [("x=nodir", "is not a directory"), ("x", "expected key=value"), ("x=ftp://y", "are known")] {
        assert!(build(&machine, file, &["--build-context", word]).fails(1).contains(says), "{word}");
    }
}

#[test]
fn archives_are_unpacked_by_add_and_copied_by_copy() {
    need_all!();
    let machine = machine(&[("in/a", "a\n"), ("in/d/b", "b\n"), ("text", "no archive\n")]);
    machine
        .sh("cd ctx && chmod 750 in/d && ln -s a in/link && tar -C in --owner=7 --group=8 -cf a.tar . && gzip -k a.tar && \
             bzip2 -k a.tar && xz -k a.tar && gzip text")
        .ok();
    let file = "FROM base\nADD a.tar /plain\nADD a.tar.gz /gz/\nADD a.tar.bz2 /bz2\nADD --chown=1:2 a.tar.xz /xz\nADD text.gz /text.gz\n\
                COPY a.tar /copied\nADD --unpack=false a.tar /kept\n";
    let ran = build(&machine, file, &["-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let seen = sh(
        &machine,
        "app",
        "for d in /plain /gz /bz2 /xz; do cat $d/a $d/d/b; stat -c '%a %u %g' $d/d; readlink $d/link; done",
    );
    assert_eq!(seen, ["a\nb\n750 7 8\na\n"; 3].concat() + "a\nb\n750 1 2\na\n");
    assert_eq!(sh(&machine, "app", "gunzip < /text.gz; tar -tf /copied | wc -l; cmp /copied /kept"), "no archive\n5\n");
}

#[test]
fn what_is_built_goes_where_it_is_wanted() {
    need_all!();
    let machine = machine(&[("f", "f\n")]);
    let file = "FROM scratch\nCOPY --chown=5:6 f /dir/f\n";
    build(&machine, file, &["-o", "out"]).ok();
    assert_eq!(machine.sh("cat out/dir/f; stat -c '%u %a' out/dir/f; find out -type f").ok(), "f\n0 644\nout/dir/f\n");
    assert_eq!(machine.strata(["images", "-q"]).ok().lines().count(), 1, "no image was made");
    build(&machine, file, &["--output", "type=tar,dest=out.tar"]).ok();
    assert_eq!(
        machine.sh("tar -tvf out.tar --numeric-owner | awk '{ print $1, $2, $6 }'").ok(),
        "drwxr-xr-x 5/6 dir/\n-rw-r--r-- 5/6 dir/f\n"
    );
    build(&machine, file, &["-t", "app:1", "-o", "type=oci,dest=oci.tar", "--metadata-file", "meta.json"]).ok();
    let metadata: serde_json::Value =
        serde_json::from_slice(&std::fs::read(machine.dir().join("meta.json")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], inspect(&machine, "app:1", "{{.Id}}"));
    assert_eq!(metadata["containerimage.digest"], metadata["containerimage.config.digest"]);
    assert_eq!(metadata["image.name"], "docker.io/library/app:1");
    machine.strata(["rmi", "app:1"]).ok();
    assert_eq!(machine.strata(["load", "-i", "oci.tar"]).ok(), "Loaded image: app:1\n");
    let piped = build(&machine, file, &["-o", "type=tar"]);
    assert!(piped.code == 0 && piped.out.contains("ustar"), "{}", piped.err);
    for (word, says) in
        [("type=magic", "exporter \"magic\" could not be found"), ("type=local", "dest is required for local exporter")]
    {
        assert!(build(&machine, file, &["-o", word]).fails(1).contains(says), "{word}");
    }
}

#[test]
fn a_dockerfile_is_checked_without_being_built() {
    need_all!();
    let machine = machine(&[]);
    let checked = build(&machine, "FROM base\nRUN exit 1\n", &["--check"]);
    assert_eq!((checked.code, checked.out.as_str()), (0, "Check complete, no warnings found.\n"), "{}", checked.err);
    let checked = build(&machine, "from base AS x\nENV PASSWORD=1\nMAINTAINER me\n", &["--check"]);
    assert_eq!(checked.code, 1, "{}", checked.err);
    for rule in ["WARNING: MaintainerDeprecated - https://", "WARNING: SecretsUsedInArgOrEnv - ", ">>> MAINTAINER me\n"]
    {
        assert!(checked.out.contains(rule), "{rule}: {}", checked.out);
    }
}

#[test]
fn an_image_in_a_directory_is_built_on_without_being_loaded() {
    need_all!();
    let machine = machine(&[]);
    machine.strata(["rmi", "base"]).ok();
    let layout = machine.dir().join("layout");
    let digest = Image::busybox().write_layout(&layout, "one");
    let file = "FROM tools AS made\nRUN echo made > /made\nFROM scratch\nCOPY --from=made /made /\nCOPY --from=tools /etc/passwd /\n";
    for context in ["layout", "./layout:one", &format!("layout@{digest}")] {
        let ran = build(&machine, file, &["--build-context", &format!("tools=oci-layout://{context}"), "-t", "app"]);
        assert_eq!(ran.code, 0, "{context}: {}", ran.err);
    }
    assert_eq!(machine.strata(["images", "-a", "--format", "{{.Repository}}"]).ok(), "app\n");
    // What was built on it stays when the directory is gone.
    machine.strata(["system", "prune", "-f"]).ok();
    machine.sh("rm -r layout").ok();
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
    for (context, says) in [
        ("tools=oci-layout://layout", "is no directory with an OCI layout\n"),
        ("tools=oci-layout://layout@sha256:0", "the digest is none\n"),
        ("tools=magic://x", "directories, docker-image://, oci-layout://, and URLs"),
    ] {
        let error = build(&machine, file, &["--build-context", context]).fails(1);
        assert!(error.contains(says), "{context}: {error}");
    }
    Image::busybox().write_layout(&layout, "one");
    let error = build(&machine, file, &["--build-context", "tools=oci-layout://layout:two"]).fails(1);
    assert!(error.contains("layout\" could not be resolved: no such image there\n"), "{error}");
    machine.sh("for f in layout/blobs/sha256/*; do echo x >> $f; done").ok();
    let error = build(&machine, file, &["--no-cache", "--build-context", "tools=oci-layout://layout:one"]).fails(1);
    assert!(error.contains("is damaged"), "{error}");
}

#[test]
fn further_contexts_stand_for_bases_and_stages() {
    need_all!();
    let machine = machine(&[("f", "f")]);
    machine.sh("mkdir -p more/dir && echo 1 > more/dir/one && chmod 640 more/dir/one && touch more/no && echo no > more/.dockerignore").ok();
    // Files are a base as they are.
    let files = build(&machine, "FROM more\nCOPY f /\nENV A=1\n", &["--build-context", "more=more", "-o", "out"]);
    assert_eq!(files.code, 0, "{}", files.err);
    assert_eq!(machine.sh("cd out && stat -c '%n %a' * dir/*").ok(), "dir 755\nf 644\ndir/one 640\n");
    // A stage of that name is not built, and names have many forms.
    let file = "FROM base AS broken\nRUN exit 1\nFROM broken\nRUN test -e /etc/passwd\n";
    build(&machine, file, &["--build-context", "broken=docker-image://base"]).ok();
    build(&machine, "FROM docker.io/library/other:latest\n", &["--build-context", "other=docker-image://base"]).ok();
    let nothing = "FROM base AS b\nFROM b\nCOPY f /only\n";
    build(&machine, nothing, &["--build-context", "b=docker-image://scratch", "-o", "bare"]).ok();
    assert_eq!(machine.sh("ls bare").ok(), "only\n");
}
