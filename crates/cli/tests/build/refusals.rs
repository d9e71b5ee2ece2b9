//! What cannot be built, and how that is said.

use std::os::unix::fs::symlink;

use super::{build, machine, need_all};

#[test]
fn an_error_shows_the_line_the_instruction_and_what_helps() {
    need_all!();
    let machine = machine(&[("f", "f")]);
    let failed = build(&machine, "FROM base\nRUN echo out && \\\n    nosuch\nRUN x\n", &[]).fails(1);
    let end = "Dockerfile:2
--------------------
   1 |     FROM base
   2 | >>> RUN echo out && \\
   3 | >>>     nosuch
   4 |     RUN x
--------------------
strata: failed to solve: process \"/bin/sh -c echo out && nosuch\" did not complete successfully: exit code: 127
hint: the shell did not find the program: is it installed in this stage?
";
    let collapsed = failed.replace("&&     nosuch\"", "&& nosuch\"");
    assert!(collapsed.ends_with(end), "{failed}");
    assert!(failed.contains(" > [2/3] RUN echo out &&") && failed.contains(" out\n"), "{failed}");
    for (file, says) in [
        ("FROM base\nRUN exit 3\n", "did not complete successfully: exit code: 3\n"),
        ("FROM base\nCOPY nothere /\n", "strata: failed to solve: \"/nothere\": not found\nhint: "),
        ("FROM base\nCOPPY f /\n", "unknown instruction: COPPY\nhint: did you mean COPY?\n"),
        ("FROM base\nADD --checksum=sha256:00 f /\n", "checksum can't be specified for non-HTTP(S) sources\n"),
        ("FROM base\nCOPY f f /x\n", "the destination must be a directory and end with a /\nhint: "),
        ("FROM base\nCOPY . /etc/passwd\n", "cannot copy to non-directory: /etc/passwd\n"),
        ("FROM base\nCOPY f /etc/\nCOPY --chown=nobody f /\n", "can't find uid for nobody\nhint: "),
        ("FROM base\nENV A=${B:?missing}\n", "failed to process \"${B:?missing}\": B: missing\n"),
        ("FROM base\nRUN [\"nosuch\"]\n", "executable file not found in $PATH\n"),
        ("FROM base\nEXPOSE x\n", "invalid containerPort: x\n"),
        ("FROM base\nSTOPSIGNAL nonsense\n", "Invalid signal: nonsense\n"),
        ("FROM base\nRUN ['echo', 'a']\n", "exit code: 127\nhint: this looks like a list, but is no JSON"),
        (
            "FROM base\nRUN --device=vendor.com/d=one,required true\n",
            "required device \"vendor.com/d=one\" is not registered\nhint: ",
        ),
        (
            "FROM base\nRUN --device=a,colour=red true\n",
            "invalid device \"a,colour=red\": unexpected field \"colour=red\"\n",
        ),
        ("FROM base AS own\nCOPY --from=Own /x /y\n", "circular dependency detected on stage: own\n"),
        (
            "FROM base AS one\nCOPY --from=two /x /y\nFROM one AS two\n",
            "cannot copy from stage \"two\", it needs to be defined before current stage \"one\"\nhint: move that stage",
        ),
        ("FROM base\nADD https://h/x.git?colour=red /\n", "unexpected query \"colour\"\n"),
        ("FROM base\nCOPY --from=3 /x /y\n", "target stage \"3\" could not be found\n"),
        ("FROM $NOTHING\n", "base name ($NOTHING) should not be blank\n"),
        ("RUN x\n", "no build stage in current context\nhint: "),
    ] {
        let err = build(&machine, file, &[]).fails(1);
        assert!(err.contains(says), "{file}: {err}");
    }
}

#[test]
fn a_context_cannot_reach_outside_itself() {
    need_all!();
    let machine = machine(&[("f", "f")]);
    std::fs::write(machine.dir().join("secret"), "secret").unwrap();
    symlink("../secret", machine.dir().join("ctx/up")).unwrap();
    symlink(machine.dir().join("secret"), machine.dir().join("ctx/absolute")).unwrap();
    symlink("..", machine.dir().join("ctx/dir")).unwrap();
    for source in ["../secret", "up", "absolute", "dir/secret", "f/../../secret", "*/secret"] {
        let ran = build(&machine, &format!("FROM base\nCOPY {source} /x/\nRUN ! grep -r secret /x\n"), &[]);
        let harmless = ran.code == 0 || ran.err.contains("not found");
        assert!(harmless && !ran.err.contains("exit code"), "{source}: {}", ran.err);
    }
    // Links in a directory are copied as links.
    let ran = build(&machine, "FROM base\nCOPY . /x/\nRUN ls -l /x/up /x/absolute | grep -c -- '->'\n", &[]);
    assert!(ran.err.contains(" 2\n"), "{}", ran.err);
}

#[test]
fn nonsense_on_the_command_line_is_refused() {
    need_all!();
    let machine = machine(&[]);
    for (words, says) in [
        (&["build", "nodir"][..], "unable to prepare context: path \"nodir\" not found\n"),
        (&["build", "store/strata.db"], "context must be a directory"),
        (&["build", "ctx"], "unable to prepare context"),
        (&["build", "-f", "none", "store"], "failed to read dockerfile: open none: no such file or directory\nhint: "),
        (&["build", "-t", "B AD", "store"], "unable"),
        (&["build", "--progress", "x", "store"], "invalid progress mode x\n"),
    ] {
        let err = machine.strata(words).fails(1);
        assert!(err.contains(says) || err.contains("failed to read dockerfile"), "{words:?}: {err}");
    }
    let err = build(&machine, "FROM base\n", &["-t", "B AD"]).fails(1);
    assert!(err.starts_with("strata: invalid tag \"B AD\""), "{err}");
    assert!(
        build(&machine, "FROM base\n", &["--target", "x"]).fails(1).contains("target stage \"x\" could not be found")
    );
    assert!(build(&machine, "FROM base\n", &["--push"]).fails(1).contains("tag is needed when pushing to registry"));
    let quiet = build(&machine, "FROM base\n", &["-q", "--iidfile", "id"]);
    let id = std::fs::read_to_string(machine.dir().join("id")).unwrap();
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), (format!("{id}\n").as_str(), ""));
}
