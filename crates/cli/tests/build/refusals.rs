//! What cannot be built, and how that is said.

use std::os::unix::fs::symlink;

use strata_testkit::machine::feed;

use super::{build, machine, need_all};

/// What cannot be built, and a part of what is said of it.
const REFUSED: &[(&str, &str)] = &[
    ("FROM base\nRUN exit 3\n", "did not complete successfully: exit code: 3\n"),
    ("FROM base\nCOPY nothere /\n", "strata: failed to solve: \"/nothere\": not found\nhint: "),
    ("FROM base\nCOPPY f /\n", "unknown instruction: COPPY\nhint: did you mean COPY?\n"),
    ("FROM base\nADD --checksum=sha256:00 f /\n", "checksum requires HTTP(S) or Git sources\n"),
    ("FROM base\nCOPY f f /x\n", "the destination must be a directory and end with a /\nhint: "),
    ("FROM base\nCOPY . /etc/passwd\n", "cannot copy to non-directory: /etc/passwd\n"),
    ("FROM base\nCOPY f /etc/\nCOPY --chown=nobody f /\n", "can't find uid for nobody\nhint: "),
    ("FROM base\nENV A=${B:?missing}\n", "failed to process \"${B:?missing}\": B: missing\n"),
    ("FROM base\nRUN [\"nosuch\"]\n", "executable file not found in $PATH\n"),
    ("FROM base\nEXPOSE x\n", "Invalid containerPort: x\n"),
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
    ("FROM base\nCOPY --from=3 /x /y\n", "invalid stage index 3\n"),
    (
        "FROM base AS first\nCOPY --from=1 /x /y\nFROM first\n",
        "cannot copy from stage \"1\", it needs to be defined before current stage \"first\"\nhint: move that stage",
    ),
    ("FROM base AS maker\nFROM base\nCOPY --from=makre /x /y\n", "which makes it an image: did you mean maker?\n"),
    ("FROM base AS maker\nFROM base\nRUN --mount=from=makre,target=/x true\n", "did you mean maker?\n"),
    ("FROM base AS maker\nFROM makr\n", "which makes it an image: did you mean maker?\n"),
    (
        "FROM second AS first\nFROM base AS second\nFROM first\n",
        "hint: the stage \"second\" begins below: move it above this one\n",
    ),
    (
        "FROM base:$TAG\n",
        "failed to parse stage name \"base:\": invalid reference format\nhint: a variable in it has no value",
    ),
    (
        "FROM Base\n",
        "parse stage name \"Base\": invalid reference format: repository name (library/Base) must be lowercase\n",
    ),
    ("FROM base:a:b\n", "failed to parse stage name \"base:a:b\": invalid reference format\n"),
    ("FROM --platform=$PLATFORM base\n", "empty platform value from expression $PLATFORM\n"),
    ("FROM base\nCOPY text/onne /\n", "\"/text/onne\": not found\nhint: did you mean text/one?\n"),
    ("FROM base\nCOPY F /\n", "\"/F\": not found\nhint: "),
    (
        "FROM base\nCOPY key /\n",
        "\"/key\": not found\nhint: key is there, but .dockerignore leaves it out of the build context\n",
    ),
    (
        "FROM base\nCOPY ../../etc/passwords /\n",
        "\"/etc/passwords\": not found\nhint: nothing outside of the build context",
    ),
    ("FROM base\nCOPY --from=base /etc/passwort /\n", "\"/etc/passwort\": not found\nhint: did you mean etc/passwd?\n"),
    ("FROM base\nCOPY --from=base /nothing /\n", "hint: paths begin at the root of what --from names\n"),
    ("FROM base\nCOPY https://h/f /\n", "source can't be a URL for COPY\nhint: ADD takes it\n"),
    ("FROM base\nCOPY git@h:x.git /\n", "source can't be a git ref for COPY\nhint: ADD takes it\n"),
    ("FROM base\nCOPY f /f\nWORKDIR /f/x\n", "cannot make the working directory /f/x: there is a file in its place\n"),
    (
        "FROM scratch\nCOPY f /f\nRUN f\n",
        "hint: the stage has no shell: RUN [\"program\", \"argument\"] does without\n",
    ),
    (
        "FROM base\nCOPY --chmod=abc f /\n",
        "invalid chmod parameter: 'abc'. it should be octal string and between 0 and 07777\nhint: digits",
    ),
    ("FROM base\nRUN --mount=type=cahce,target=/x true\n", "unsupported mount type \"cahce\" (did you mean cache?)\n"),
    ("FROM base\nENV A=${B\n", "failed to process \"${B\": syntax error: missing '}'\n"),
    ("FROM $NOTHING\n", "base name ($NOTHING) should not be blank\n"),
    ("RUN x\n", "no build stage in current context\nhint: "),
];

#[test]
fn an_error_shows_the_line_the_instruction_and_what_helps() {
    need_all!();
    let machine = machine(&[("f", "f"), ("text/one", "1"), ("key", "k"), (".dockerignore", "key\n")]);
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
    for (file, says) in REFUSED {
        let err = build(&machine, file, &[]).fails(1);
        assert!(err.contains(says), "{file}: {err}");
    }
}

#[test]
fn what_could_be_better_is_said_of_a_failed_build_too() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM base\nRUN true\nCOPY $NOTHERE/gone /x\n";
    let warning = " 1 warning found (--check tells more):\n - UndefinedVar: Usage of undefined variable '$NOTHERE' (line 3)\nDockerfile:3\n";
    let failed = build(&machine, file, &[]).fails(1);
    assert!(failed.contains(warning), "{failed}");
    assert!(!build(&machine, file, &["-q"]).fails(1).contains("warning"));
    let broken = build(&machine, "from base as One\nCOPPY x\n", &[]).fails(1);
    assert!(broken.starts_with("\n 1 warning found (--check tells more):\n - StageNameCasing: "), "{broken}");
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
    let elsewhere = [
        (["--network", "nowhere"], "strata: network nowhere not found\n"),
        (["--network", "container:x"], "strata: network mode \"container:x\" not supported by build\n"),
    ];
    for (words, says) in elsewhere {
        assert_eq!(build(&machine, "FROM base\n", &words).fails(1), says);
    }
    for (file, hint) in [
        ("FROM base\n", "no stage has a name: FROM image AS name gives it one"),
        ("FROM base AS one\nFROM base AS two\n", "the stages are: one, two"),
        ("FROM base AS xs\nFROM base AS two\n", "did you mean xs?"),
    ] {
        let err = build(&machine, file, &["--target", "x"]).fails(1);
        assert_eq!(err, format!("strata: failed to solve: target stage \"x\" could not be found\nhint: {hint}\n"));
    }
    let alone = feed(machine.strata_command(["build", "--network", "none", "-"]), b"FROM base\nCOPY f /\n").fails(1);
    assert!(alone.contains("\"/f\": not found\nhint: there is no build context, only a Dockerfile"), "{alone}");
    assert!(build(&machine, "FROM base\n", &["--push"]).fails(1).contains("tag is needed when pushing to registry"));
    let quiet = build(&machine, "FROM base\n", &["-q", "--iidfile", "id"]);
    let id = std::fs::read_to_string(machine.dir().join("id")).unwrap();
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), (format!("{id}\n").as_str(), ""));
}
