//! `build --verify`: the first thing in which two builds of the same differ; and the time of the last commit.

use strata_testkit::{host, need};

use super::{build, inspect, machine, need_all, sh};

#[test]
fn what_makes_two_builds_differ_is_told() {
    need_all!();
    let machine = machine(&[("f", "f\n")]);
    let steady = "FROM base AS made\nRUN date > /dev/null; echo x > /made; touch -d 2040-01-01 /late\nFROM base\nCOPY f /f\nCOPY --from=made /made /late /\nENV A=1\n";
    let ran = build(&machine, steady, &["--verify", "-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("verified: two builds without cache came to the same image\n"), "{}", ran.err);
    assert_eq!(sh(&machine, "app", "cat /f /made"), "f\nx\n");

    for (step, says) in [
        (
            "RUN mkdir /d && head -c 16 /dev/urandom | md5sum > /d/random && echo x > /same",
            "path: /d/random\n  content, line 1:\n    first:  ",
        ),
        ("RUN head -c 16 /dev/urandom > /random", "path: /random\n  content, from byte "),
        ("RUN touch /$(head -c 8 /dev/urandom | md5sum | head -c 8)", "  it is only in the "),
        (
            "RUN touch /f && touch -d @$(( $(head -c 2 /dev/urandom | od -An -tu2) )) /f",
            "path: /f\n  time: first 1970-01-01T",
        ),
        ("RUN touch /f && chown $(head -c 2 /dev/urandom | od -An -tu2 | tr -d ' ') /f", "path: /f\n  owner: first "),
    ] {
        let file = format!("FROM base\nRUN echo steady > /steady\n{step}\n");
        let err = build(&machine, &file, &["--verify", "-t", "other", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"])
            .fails(1);
        assert!(
            err.contains("strata: two builds came to different images\nlayer 3, made by: RUN /bin/sh -c "),
            "{step}: {err}"
        );
        assert!(err.contains(says) && err.contains("\nhint: what a step writes must not depend"), "{step}: {err}");
    }
    assert_eq!(machine.strata(["images", "-q", "other"]).ok(), "", "nothing has the name");
    assert!(build(&machine, "FROM base\nRUN exit 3\n", &["--verify"]).fails(1).contains("exit code: 3\n"));
    machine.strata(["check"]).ok();
}

#[test]
fn the_last_commit_can_say_what_time_it_is() {
    need_all!();
    need!(host::program("git"));
    let machine = machine(&[("f", "f\n")]);
    let file = "FROM base\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /epoch\nCOPY f /f\n";
    let words = ["-t", "app", "--build-arg", "SOURCE_DATE_EPOCH=commit"];
    let err = build(&machine, file, &words).fails(1);
    assert!(err.contains("the context is no git work tree with a commit\nhint: "), "{err}");
    machine
        .sh("cd ctx && git init -q . && git add . && \
             GIT_COMMITTER_DATE='1700000000 +0000' git -c user.name=a -c user.email=a@a commit -qm one")
        .ok();
    build(&machine, file, &words).ok();
    assert_eq!(sh(&machine, "app", "cat /epoch; stat -c %Y /f /epoch"), "1700000000\n1700000000\n1700000000\n");
    assert_eq!(inspect(&machine, "app", "{{.Created}}"), "2023-11-14T22:13:20Z");
    // Comparing takes it by itself.
    build(&machine, "FROM base\nCOPY f /f\n", &["-t", "app", "--verify"]).ok();
    assert_eq!(inspect(&machine, "app", "{{.Created}}"), "2023-11-14T22:13:20Z");
    // A build that does not ask for it has the times that there are.
    build(&machine, "FROM base\nCOPY f /f\n", &["-t", "app"]).ok();
    assert_ne!(inspect(&machine, "app", "{{.Created}}"), "2023-11-14T22:13:20Z");
    assert!(
        build(&machine, file, &["--build-arg", "SOURCE_DATE_EPOCH=soon"])
            .fails(1)
            .contains("invalid SOURCE_DATE_EPOCH: soon")
    );
}
