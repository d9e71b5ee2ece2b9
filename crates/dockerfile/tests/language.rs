//! The language as a person meets it: instructions, errors with their hints, checks, bounds.

use std::collections::BTreeMap;

use strata_dockerfile::{Checked, Dockerfile, Expander, Heredoc, Ignore, Instruction, Warning, lint, parse_statements};

fn refused(text: &str) -> String {
    let error = Dockerfile::parse(text).expect_err(text);
    format!("{}|{}|{}", error.line, error.problem, error.hint.unwrap_or_default())
}

#[test]
fn errors_say_the_line_the_instruction_and_the_likely_fix() {
    for (text, expected) in [
        ("FROM a\nRUUN x", "2|unknown instruction: RUUN|did you mean RUN?"),
        ("FROM a\n\nCOPY --form=b x y", "3|unknown flag: --form|did you mean --from?"),
        (
            "FROM a\nCOPY x",
            "2|COPY requires at least two arguments, but only one was provided. Destination could not be determined|",
        ),
        ("RUN x", "1|no build stage in current context|a Dockerfile begins with FROM (only ARG may stand before it)"),
        ("ARG x", "1|no build stage in the Dockerfile|a Dockerfile begins with FROM (only ARG may stand before it)"),
        ("FROM a b", "1|FROM requires either one or three arguments|write FROM image, or FROM image AS name"),
        ("FROM a AS 1x", "1|invalid name for build stage: \"1x\", name can't start with a number or contain symbols|"),
        ("FROM a\nRUN <<EOF\nx", "2|unterminated heredoc|end it by a line that is `EOF` and nothing else"),
        (
            "FROM a\nENV a=b c",
            "2|Syntax error - can't find = in \"c\". Must be of the form: name=value|values with blanks are quoted: name=\"a c\"",
        ),
        ("FROM a\nENV a", "2|ENV must have two arguments|"),
        ("FROM a\nONBUILD ONBUILD RUN x", "2|Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed|"),
        ("FROM a\nONBUILD FROM scratch", "2|FROM isn't allowed as an ONBUILD trigger|"),
        (
            "FROM a\nSHELL bash -c",
            "2|SHELL requires the arguments to be in JSON form|write it as a list: SHELL [\"/bin/bash\", \"-c\"]",
        ),
        (
            "FROM a\nCMD [1]",
            "2|when using JSON array syntax, arrays must be comprised of strings only|quote every element with double quotes",
        ),
        ("FROM a\nHEALTHCHECK --interval=50ns CMD x", "2|Interval \"interval\" cannot be less than 1ms|"),
        (
            "FROM a\nHEALTHCHECK RUN x",
            "2|Unknown type \"RUN\" in HEALTHCHECK (try CMD)|write HEALTHCHECK CMD command, or HEALTHCHECK NONE",
        ),
        ("FROM a\nRUN --network=moon x", "2|invalid network mode \"moon\"|"),
        ("FROM a\nRUN --mount=type=cache x", "2|invalid mount \"type=cache\": target is required|"),
        ("FROM a\nCOPY x <<EOF\nEOF", "2|COPY cannot accept a heredoc as a destination|"),
        ("# escape=x\nFROM a", "1|invalid escape token 'x' does not match ` or \\|"),
        ("# syntax=a\n# syntax=b\nFROM a", "2|only one syntax parser directive can be used|"),
        ("FROM a\nEXPOSE", "2|EXPOSE requires at least one argument|"),
        ("FROM a\nUSER", "2|USER requires exactly one argument|"),
        ("FROM a\nCOPY --link=maybe a b", "2|expecting boolean value for flag --link, not: maybe|"),
        ("FROM a\nCOPY --chown a b", "2|missing a value on flag: --chown|write --chown=value"),
        ("FROM a\nCOPY --from=a --from=b a b", "2|duplicate flag specified: --from|"),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
}

fn instructions(text: &str) -> Vec<Instruction> {
    let file = Dockerfile::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    file.stages.into_iter().flat_map(|stage| stage.steps).map(|step| step.instruction).collect()
}

#[test]
fn heredocs_belong_to_their_instruction() {
    let text = "FROM a\nCOPY <<FILE1 <<-\"FILE2\" /dest\ncontent 1\nFILE1\n\tcontent 2\n\tFILE2\nRUN <<EOF > out\nFROM x\nEOF\nUSER <<INVALID\n";
    let found = instructions(text);
    let Instruction::Copy(copy) = &found[0] else { panic!("{found:?}") };
    let files: Vec<_> = copy.inline.iter().map(|file| (&*file.name, &*file.content, file.expand)).collect();
    assert_eq!(files, [("FILE1", "content 1\n", true), ("FILE2", "content 2\n", false)]);
    let Instruction::Run(run) = &found[1] else { panic!("{found:?}") };
    assert_eq!(
        run.command.heredocs,
        [Heredoc { name: "EOF".to_owned(), expand: true, content: "FROM x\n".to_owned(), ..Heredoc::default() }]
    );
    assert_eq!(found[2], Instruction::User("<<INVALID".to_owned()));
}

#[test]
fn a_trigger_keeps_its_heredoc() {
    let found = instructions("FROM a\nONBUILD RUN <<EOF\nx\nEOF\n");
    assert_eq!(found, [Instruction::OnBuild("RUN <<EOF\nx\nEOF".to_owned())]);
}

#[test]
fn flags_and_directives_are_read() {
    let text = "# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nFROM --platform=$BUILDPLATFORM a:$V AS Base\nCOPY --from=x --chown=1:2 --chmod=755 --link --parents --exclude=*.o --exclude=b a `\n  b c/\nADD --checksum=sha256:00 --keep-git-dir=true https://x/y /z\n";
    let file = Dockerfile::parse(text).unwrap();
    assert_eq!((file.directives.escape, file.directives.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
    let stage = &file.stages[0];
    assert_eq!((&*stage.base, &*stage.name, &*stage.platform), ("a:$V", "base", "$BUILDPLATFORM"));
    let Instruction::Copy(copy) = &stage.steps[0].instruction else { panic!() };
    assert_eq!((copy.link, copy.parents, &copy.exclude[..]), (true, true, &["*.o".to_owned(), "b".to_owned()][..]));
    assert_eq!((&*copy.from, &*copy.chown, &*copy.chmod, &*copy.target), ("x", "1:2", "755", "c/"));
    let Instruction::Add(add) = &stage.steps[1].instruction else { panic!() };
    assert!(add.keep_git_dir && add.checksum == "sha256:00");
}

/// What is strange in a file, of whose base images nothing is known.
fn warnings(text: &str) -> Vec<Warning> {
    let (arguments, base) = (BTreeMap::new(), |_| None);
    let checked = Checked { stages: None, arguments: &arguments, base: &base, ignore: None };
    lint(&Dockerfile::parse(text).expect(text), &checked).expect(text).warnings
}

#[test]
fn checks_say_what_is_strange() {
    let text = "ARG base\nFROM $bas AS Build\nfrom scratch as b2\nENV a b\nENV API_KEY=x\nMAINTAINER me\nWORKDIR x\nCOPY $srcc /\nARG src\nCMD a\nCMD b\nEXPOSE 80/TCP 1.2.3.4:5:6\nRUN a \\\n\n b\nFROM --platform=linux/arm64 x AS build\n";
    let said: Vec<String> = warnings(text)
        .into_iter()
        .map(|warning| format!("{} {}: {}", warning.line, warning.rule, warning.message))
        .collect();
    let expected = "\
2 InvalidDefaultArgInFrom: Default value for ARG $bas results in empty or invalid base image name
2 StageNameCasing: Stage name 'Build' should be lowercase
2 UndefinedArgInFrom: FROM argument 'bas' is not declared (did you mean base?)
3 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)
4 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format
5 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"API_KEY\")
6 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label
7 WorkdirRelativePath: Relative workdir \"x\" can have unexpected results if the base image changes
8 UndefinedVar: Usage of undefined variable '$srcc'
10 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
10 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used
11 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
12 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1.2.3.4:5:6'
12 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase
15 NoEmptyContinuation: Empty continuation line
16 DuplicateStageName: Duplicate stage name \"build\", stage names should be unique
16 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/arm64\"";
    assert_eq!(said.join("\n"), expected);
    let skipped = format!("# check=skip=all\n{text}");
    assert_eq!(warnings(&skipped), []);
}

#[test]
fn a_base_without_a_default_is_strange_and_one_of_a_platform_is_not() {
    let rules = |text: &str| -> Vec<&str> { warnings(text).into_iter().map(|warning| warning.rule).collect() };
    assert_eq!(rules("ARG TAG\nFROM busybox:$TAG\n"), ["InvalidDefaultArgInFrom"]);
    assert_eq!(rules("ARG TAG=1\nFROM busybox:$TAG\n"), [""; 0]);
    assert_eq!(rules("FROM base-$TARGETARCH\n"), [""; 0]);
}

#[test]
fn an_ignore_file_is_read_as_docker_reads_it() {
    let ignore = Ignore::parse("# no\n\n  /target/ \n*.o\n!keep.o\n**/secret\n").unwrap();
    for (path, expected) in [
        ("target", true),
        ("target/x/y", true),
        ("sub/target", false),
        ("a.o", true),
        ("keep.o", false),
        ("sub/a.o", false),
        ("sub/secret/x", true),
        ("# no", false),
    ] {
        assert_eq!(ignore.ignores(path), expected, "{path}");
    }
    assert!(Ignore::parse("!\n").is_err());
    assert!(Ignore::parse("[a\n").is_err());
}

#[test]
fn hostile_files_are_bounded() {
    assert!(refused(&format!("FROM a\nRUN {}", "x".repeat(70_000))).contains("greater than max allowed size"));
    assert!(refused(&"FROM a\n".repeat(513)).contains("more than 512 stages"));
    assert!(refused(&"#\n".repeat(2 << 20)).contains("more than"));
    let deep = format!("{}{}", "${a:-".repeat(5000), "}".repeat(5000));
    assert!(Expander::new('\\').expand(&deep, &|_| None).unwrap_err().to_string().contains("nested"));
    let wide = "$a".repeat(1000);
    let long = |_: &str| Some("y".repeat(100_000));
    assert!(Expander::new('\\').expand(&wide, &long).unwrap_err().to_string().contains("more than"));
    let slow = format!("${{a#{}}}", "*x".repeat(200));
    let value = |_: &str| Some("x".repeat(10_000));
    Expander::new('\\').expand(&slow, &value).unwrap();
    let ignore = Ignore::of_patterns(&["*a".repeat(100)]).unwrap();
    assert!(!ignore.ignores(&"a".repeat(4000).replace("aaaa", "aaab")));
    let onbuild = format!("FROM a\n{}RUN x", "ONBUILD ".repeat(5000));
    assert!(refused(&onbuild).contains("Chaining"));
    assert!(parse_statements("\u{feff}FROM a").is_ok());
}
