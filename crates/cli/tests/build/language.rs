//! What instructions do.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{build, inspect, machine, need_all, sh, write};

#[test]
fn stages_variables_files_and_heredocs() {
    need_all!();
    let machine = machine(&[("src/f1", "1\n"), ("src/f2", "2\n"), ("src/sub/deep", "d\n"), ("left", "x\n")]);
    let file = r#"ARG BASE=nothing
FROM $BASE AS made
ENV A=1 B="two words"
WORKDIR /app
COPY src /app/src
ARG NAME=world AGAIN=$NAME
RUN [ "$AGAIN" = "$NAME" ] && mkdir out && cat src/f* > out/all && echo "$A $B $NAME" >> out/all

FROM $BASE
COPY --from=made /app/out /out/
COPY --chown=user:wheel --chmod=600 src/f? /owned/
COPY <<EOT <<"RAW" /etc/
$HOME ${A:-none} "quoted"
EOT
$HOME
RAW
RUN <<EOT
echo one > /one
echo two >> /one
EOT
RUN <<EOT
#!/bin/cat
I am read by cat
EOT
SHELL ["/bin/ash", "-ec"]
RUN ["sh", "-c", "echo $0 > /zero"]
"#;
    let ran = build(&machine, file, &["-t", "app", "--build-arg", "BASE=base", "--build-arg", "NAME=you"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("I am read by cat"), "{}", ran.err);
    assert_eq!(sh(&machine, "app", "cat /out/all /one /zero"), "1\n2\n1 two words you\none\ntwo\nsh\n");
    assert_eq!(sh(&machine, "app", "cat /etc/EOT /etc/RAW"), " none \"quoted\"\n$HOME\n");
    assert_eq!(
        sh(&machine, "app", "stat -c '%n %a %u %g' /owned /owned/*"),
        "/owned 600 1000 10\n/owned/f1 600 1000 10\n/owned/f2 600 1000 10\n"
    );
    assert_eq!(inspect(&machine, "app", "{{json .Config.Shell}} {{len .RootFS.Layers}}"), r#"["/bin/ash","-ec"] 6"#);
}

#[test]
fn files_are_copied_as_they_are_and_where_they_belong() {
    need_all!();
    let machine = machine(&[("a/x", "x"), ("a/run", "#!"), ("a/d/y", "y"), ("keep.log", "k"), ("drop.log", "d")]);
    let ctx = machine.dir().join("ctx");
    symlink("x", ctx.join("a/link")).unwrap();
    symlink("a", ctx.join("dirlink")).unwrap();
    std::fs::hard_link(ctx.join("a/x"), ctx.join("a/twin")).unwrap();
    std::fs::set_permissions(ctx.join("a/run"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(ctx.join("a/d"), std::fs::Permissions::from_mode(0o700)).unwrap();
    write(&machine, ".dockerignore", "*.log\n!keep.*\n");
    let file = r#"FROM base
RUN mkdir -p /real/old && ln -s real /alias && chmod 711 /real
COPY a /alias/
COPY dirlink/x /y
COPY *.log /logs/
COPY --exclude=*/y --exclude=run a /less
COPY --parents a/./d/y a/x /with/
COPY --link a/x /linked/
WORKDIR /real
COPY a/x .
ADD a/x ./added
"#;
    assert_eq!(build(&machine, file, &["-t", "app"]).code, 0);
    let listed =
        sh(&machine, "app", "cd /real && stat -c '%n %a %u %F' . old d run link && stat -c '%h' twin; readlink link");
    let expected = ". 711 0 directory\nold 755 0 directory\nd 700 0 directory\nrun 4755 0 regular file\nlink 777 0 symbolic link\n2\nx\n";
    assert_eq!(listed, expected);
    assert_eq!(
        sh(&machine, "app", "cat /y; ls /logs /less /less/d; find /with /linked -type f"),
        "x/less:\nd\nlink\ntwin\nx\n\n/less/d:\n\n/logs:\nkeep.log\n/with/a/x\n/with/d/y\n/linked/x\n"
    );
    assert_eq!(sh(&machine, "app", "ls -l /alias | cut -c1; cat /real/added"), "l\nx");
}

#[test]
fn what_a_base_wants_done_is_done_in_its_children_only() {
    need_all!();
    let machine = machine(&[("f", "f\n")]);
    let file = "FROM base\nONBUILD COPY f /from-trigger\nONBUILD RUN echo ran > /ran\nONBUILD ENV T=1\n";
    assert_eq!(build(&machine, file, &["-t", "parent"]).code, 0);
    assert_eq!(
        inspect(&machine, "parent", "{{json .Config.OnBuild}}"),
        r#"["COPY f /from-trigger","RUN echo ran > /ran","ENV T=1"]"#
    );
    assert_eq!(build(&machine, "FROM parent\n", &["-t", "child"]).code, 0);
    assert_eq!(sh(&machine, "child", "cat /from-trigger /ran; echo $T"), "f\nran\n1\n");
    assert_eq!(inspect(&machine, "child", "{{json .Config.OnBuild}}"), "null");
}

#[test]
fn an_image_of_nothing_has_only_what_is_copied() {
    need_all!();
    let machine = machine(&[("hello", "hi\n")]);
    assert_eq!(build(&machine, "FROM scratch\nCOPY hello /\n", &["-t", "bare", "--label", "a=b"]).code, 0);
    let shown = inspect(
        &machine,
        "bare",
        "{{json .Config.Env}} {{json .Config.Labels}} {{.Config.WorkingDir}} {{.Architecture}}",
    );
    assert!(
        shown.starts_with(r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] {"a":"b"} / "#),
        "{shown}"
    );
    machine.strata(["create", "--name", "made", "bare", "x"]).ok();
    let listed = machine.strata(["export", "-o", "bare.tar", "made"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert_eq!(machine.sh("tar -tf bare.tar | grep -c hello").ok(), "1\n");
}

#[test]
fn histories_are_in_the_words_of_docker() {
    need_all!();
    let machine = machine(&[("f", "f\n")]);
    let file = r#"FROM base
ARG X=1
RUN echo $X > /x
WORKDIR /w
COPY --chown=1:2 f /f
ENV A=1 B=2
EXPOSE 80 53/udp
VOLUME /v
ENTRYPOINT ["a", "b"]
CMD c
HEALTHCHECK --retries=3 CMD true
"#;
    assert_eq!(build(&machine, file, &["-t", "app"]).code, 0);
    let history = machine.strata(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app"]).ok();
    let expected = r#"HEALTHCHECK &{["CMD-SHELL" "true"] "0s" "0s" "0s" "0s" '\x03'}
CMD ["/bin/sh" "-c" "c"]
ENTRYPOINT ["a" "b"]
VOLUME [/v]
EXPOSE [53/udp 80/tcp]
ENV A=1 B=2
COPY --chown=1:2 f /f # buildkit
WORKDIR /w
RUN |1 X=1 /bin/sh -c echo $X > /x # buildkit
ARG X=1
layer 0
"#;
    assert_eq!(history, expected);
}

#[test]
fn stars_and_exclusions_are_those_of_the_reference() {
    need_all!();
    let files =
        ["src/a.txt", "src/x/b.txt", "src/x/y/c.txt", "src/x/y/d.md", "home.txt", "home.md", "homely", "gone/x/e.txt"];
    let machine = machine(&files.map(|name| (name, name)));
    write(&machine, ".dockerignore", "gone\n");
    let file = "FROM base\n\
                COPY --parents ./src/**/*.txt /all/\n\
                COPY --parents ./s*/./**/y /pivot/\n\
                COPY --parents ./**/e.txt ./src/**/**/b.txt ./nothing/** /few/\n\
                COPY src/**/b.txt /flat/\n\
                COPY --exclude=*.txt hom* /most/\n\
                COPY --exclude=home* home.md /none/\n\
                COPY --chmod=g=u homely /g\n";
    build(&machine, file, &["-t", "app"]).ok();
    let found = sh(&machine, "app", "find /all /pivot /few /flat /most /none -type f | sort; stat -c %a /g");
    let expected = "/all/src/a.txt\n/all/src/x/b.txt\n/all/src/x/y/c.txt\n/few/src/x/b.txt\n/flat/b.txt\n/most/home.md\n\
                    /most/homely\n/pivot/x/y/c.txt\n/pivot/x/y/d.md\n664\n";
    assert_eq!(found, expected);
}

#[test]
fn triggers_bring_the_stages_that_they_name() {
    need_all!();
    let machine = machine(&[("seen", "of the context\n")]);
    let triggers =
        "ONBUILD COPY --from=made /app /\nONBUILD RUN --mount=from=files,target=/mnt cat /mnt/seen >> /app\n";
    let rest = "FROM base AS made\nRUN echo made > /app\nFROM scratch AS files\nCOPY seen /\nFROM trigger\nRUN echo end >> /app\n";
    // A stage that has them, or an image.
    build(&machine, &format!("FROM base AS trigger\n{triggers}{rest}"), &["-t", "app:stage"]).ok();
    build(&machine, &format!("FROM base\n{triggers}"), &["-t", "trigger"]).ok();
    build(&machine, rest, &["-t", "app:image"]).ok();
    for image in ["app:stage", "app:image"] {
        assert_eq!(sh(&machine, image, "cat /app"), "made\nof the context\nend\n");
    }
    let error = build(&machine, "FROM trigger\n", &[]).fails(1);
    assert!(error.contains("made"), "{error}");
}
