//! `build --call`: what a build would be, instead of it.

use serde_json::{Value, json};

use super::{build, machine, need_all};

/// A file with all that an outline tells, and with what it does not.
const FILE: &str = r#"ARG REGISTRY=example.org
# VERSION is the version of the base
ARG VERSION="1-${REGISTRY}"
ARG UNUSED=$VERSION

FROM $REGISTRY/tools:$VERSION AS tools
# not a description
ARG JOBS=2
RUN --mount=type=secret,target=/etc/token,required --mount=type=ssh make -j $JOBS

FROM debian AS other
ARG ELSEWHERE
RUN --mount=type=secret,id=elsewhere true

FROM scratch AS plain
# NAME of what is made
ARG NAME=shop \
    SIZE
ENV PREFIX=my
ARG LONG=$PREFIX-$NAME VERSION TARGETARCH

# shop is what is sold
FROM plain AS shop
RUN --mount=type=secret,id=for-$NAME --mount=type=ssh,id=deploy,required=true true
COPY --from=tools /made /

FROM other
"#;

#[test]
fn an_outline_tells_what_a_target_can_be_told() {
    need_all!();
    let machine = machine(&[]);
    let options = ["--call", "outline", "--target", "shop", "--build-arg", "SIZE=<9>", "-q"];
    let outline = build(&machine, FILE, &options).ok();
    let expected = "\
TARGET:      shop
DESCRIPTION: is what is sold

BUILD ARG   VALUE           DESCRIPTION
REGISTRY    example.org     \n\
VERSION     1-example.org   is the version of the base
JOBS        2               \n\
NAME        shop            of what is made
SIZE        <9>             \n\
LONG        my-shop         \n
SECRET     REQUIRED
token      true
for-shop   \n
SSH       REQUIRED
default   \n\
deploy    true

";
    assert_eq!(outline, expected);
    let options = ["--call=outline,format=json", "--target", "shop", "--build-arg", "SIZE=<9>"];
    let printed = build(&machine, FILE, &options).ok();
    assert!(printed.starts_with("{\n  \"name\": \"shop\",\n") && printed.contains("\\u003c9\\u003e"), "{printed}");
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(document["args"][3]["location"]["ranges"], json!([line(17), line(18)]));
    assert_eq!(document["args"][1]["description"], "is the version of the base");
    assert_eq!(document["secrets"][0], json!({"name": "token", "required": true, "location": {"ranges": [line(9)]}}));
    assert_eq!(document["ssh"][1]["name"], "deploy");
    let nothing = build(&machine, "FROM scratch\n", &["--call", "outline"]).ok();
    assert_eq!(nothing, "");
}

fn line(number: usize) -> Value {
    json!({"start": {"line": number}, "end": {"line": number}})
}

#[test]
fn the_targets_of_a_file_are_listed() {
    need_all!();
    let machine = machine(&[]);
    let targets = build(&machine, FILE, &["--call", "targets"]).ok();
    let expected = "TARGET    DESCRIPTION\ntools     \nother     \nplain     \nshop      is what is sold\n(default) \n";
    assert_eq!(targets, expected);
    let document: Value = serde_json::from_str(&build(&machine, FILE, &["--call=targets,format=json"]).ok()).unwrap();
    assert_eq!(document["targets"].as_array().unwrap().len(), 5);
    let expected = json!({"name": "tools", "base": "$REGISTRY/tools:$VERSION", "location": {"ranges": [line(6)]}});
    assert_eq!(document["targets"][0], expected);
    assert_eq!(document["targets"][4], json!({"default": true, "base": "other", "location": {"ranges": [line(27)]}}));
}

#[test]
fn checks_are_documents_too_and_say_it_by_their_status() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM scratch\nENV PASSWORD=1\n";
    let checked = build(&machine, file, &["--call", "check,format=json"]);
    assert_eq!(checked.code, 1, "{}", checked.err);
    let document: Value = serde_json::from_str(&checked.out).unwrap();
    let warning = &document["warnings"][0];
    assert_eq!(warning["ruleName"], "SecretsUsedInArgOrEnv");
    assert_eq!(warning["url"], "https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/");
    assert_eq!(warning["location"]["ranges"], json!([line(2)]));
    assert_eq!(document["sources"][0]["filename"], "Dockerfile");
    build(&machine, file, &["--call", "check,ignorestatus=true"]).ok();
    assert!(build(&machine, file, &["--check", "--target", "x"]).fails(1).contains("target stage \"x\" could not"));
    // What is no Dockerfile is told in both ways.
    let broken = build(&machine, "FROM scratch\nCOPPY a b\n", &["--call=check,format=json"]);
    let document: Value = serde_json::from_str(&broken.out).unwrap();
    assert_eq!(document["buildError"]["location"]["ranges"], json!([line(2)]));
    let message = "dockerfile parse error on line 2: unknown instruction: COPPY (did you mean COPY?)";
    assert_eq!(document["buildError"]["message"], message);
    assert!(broken.fails(1).contains("unknown instruction: COPPY\nhint: did you mean COPY?\n"));
    let methods = build(&machine, file, &["--call", "subrequests.describe"]).ok();
    assert!(
        methods.starts_with("NAME                 VERSION DESCRIPTION\noutline              1.0.0   List"),
        "{methods}"
    );
    let printed = build(&machine, file, &["--call", "subrequests.describe,format=json"]).ok();
    let expected = r#"[
  {
    "name": "frontend.outline",
    "version": "1.0.0",
    "type": "rpc",
    "description": "List all parameters current build target supports",
    "opts": [
      {
        "name": "target",
        "description": "Target build stage"
      }
    ],
    "inputs": null,
    "metadata": [
      {
        "name": "result.json",
        "description": ""
      },
      {
        "name": "result.txt",
        "description": ""
      }
    ],
    "refs": null
  },
"#;
    assert!(printed.starts_with(expected), "{printed}");
    // What Go writes for nothing.
    let clean = build(&machine, "FROM scratch\nENV A=1\n", &["--call=check,format=json"]).ok();
    assert!(clean.starts_with("{\n  \"warnings\": null,\n  \"sources\": [\n"), "{clean}");
    let nowhere = build(&machine, file, &["--call=check,format=json", "--target", "x"]).out;
    assert!(nowhere.contains("\n    \"location\": {}\n"), "{nowhere}");
}

#[test]
fn checks_say_where_the_file_lies_and_show_its_lines_as_they_are() {
    need_all!();
    let file = "frOM base as low\ncOpy Dockerfile .\nfrom scratch\nCOPy --from=low \\\n  /Dockerfile \\\n  /\n\t ";
    let machine = machine(&[("sub/File", file), ("Dockerfile", file)]);
    let expected = "Check complete, 3 warnings have been found!\n\n\
        WARNING: ConsistentInstructionCasing - https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/\n\
        Command 'frOM' should match the case of the command majority (lowercase)\n\
        ctx/sub/File:1\n--------------------\n   1 | >>> frOM base as low\n   2 |     cOpy Dockerfile .\n   3 |     from scratch\n--------------------\n";
    let shown = machine.strata(["build", "--check", "-f", "ctx/sub/File", "ctx"]).out;
    assert!(shown.starts_with(expected), "{shown}");
    let last = "ctx/sub/File:4\n--------------------\n   3 |     from scratch\n   4 | >>> COPy --from=low \\\n   5 | >>>   /Dockerfile \\\n   6 | >>>   /\n   7 |     \t \n--------------------\n";
    assert!(shown.ends_with(last), "{shown}");
    for (words, place) in [
        (&["--check", "ctx"][..], "\nctx/Dockerfile:1\n"),
        (&["--check", "./ctx/"], "\nctx/Dockerfile:1\n"),
        (&["--call=check,format=json", "-f", "ctx/sub/File", "ctx"], "\"filename\": \"File\""),
    ] {
        let shown = machine.strata(["build"].iter().chain(words)).out;
        assert!(shown.contains(place), "{place}: {shown}");
    }
    let shown = build(&machine, file, &["--check"]).out;
    assert!(shown.contains("\nstdin:1\n"), "{shown}");
}

#[test]
fn there_is_one_builder() {
    need_all!();
    let machine = machine(&[]);
    build(&machine, "FROM scratch\nENV A=1\n", &["--builder", "default", "--call", "build"]).ok();
    let error = build(&machine, "FROM scratch\n", &["--builder", "farm"]).fails(1);
    assert!(error.starts_with("strata: no builder \"farm\" found\nhint: there is one builder"), "{error}");
    machine.strata(["buildx", "prune", "-f", "--builder", "default"]).ok();
    machine.strata(["builder", "prune", "-f", "--builder", "farm"]).fails(1);
}

#[test]
fn checks_look_at_what_a_target_reaches() {
    need_all!();
    let machine = machine(&[("kept", "x"), (".dockerignore", "gone\n")]);
    let file = "FROM base AS a\nENV secret=1\nFROM scratch AS b\nCOPY --from=a /x /\nCMD run\nFROM scratch\nADD gone $X/\nMAINTAINER me\n";
    let check = |options: &[&str]| -> Vec<String> {
        let checked = build(&machine, file, &[&["--call", "check,format=json"], options].concat());
        let document: Value = serde_json::from_str(&checked.out).unwrap();
        let warnings = document["warnings"].as_array().unwrap().iter();
        let line = |warning: &Value| warning["location"]["ranges"][0]["start"]["line"].to_string();
        warnings.map(|warning| format!("{} {}", line(warning), warning["ruleName"].as_str().unwrap())).collect()
    };
    let (secret, command, maintainer) = ("2 SecretsUsedInArgOrEnv", "5 JSONArgsRecommended", "8 MaintainerDeprecated");
    let (ignored, undefined) = ("7 CopyIgnoredFile", "7 UndefinedVar");
    assert_eq!(check(&[]), [secret, command, ignored, undefined, maintainer]);
    assert_eq!(check(&["--target", "b"]), [secret, command, maintainer]);
    assert_eq!(check(&["--target", "a"]), [secret, maintainer]);
    let skip = "BUILDKIT_DOCKERFILE_CHECK=skip=UndefinedVar,MaintainerDeprecated;error=true";
    assert_eq!(check(&["--build-arg", skip, "--target", "a"]), [secret]);
    // What a base sets is known where it is.
    build(&machine, "FROM base\nENV HERE=/kept\n", &["-q", "-t", "base"]).ok();
    let file = "FROM base\nCOPY $HERE$THERE /\n";
    let said = build(&machine, file, &["--check"]);
    assert!(said.out.contains("1 warning") && said.out.contains("'$THERE' (did you mean $HERE?)"), "{}", said.out);
}

#[test]
fn a_file_may_refuse_to_be_built_with_warnings() {
    need_all!();
    let machine = machine(&[]);
    let file = "# check=error=true\nFROM scratch AS plain\nENV A=1\nFROM scratch\nENV A 1\n";
    for options in [&[][..], &["--check"]] {
        let refused = build(&machine, file, options);
        let told = format!("{}{}", refused.out, refused.err);
        assert!(told.contains("LegacyKeyValueFormat"), "{told}");
        assert!(refused.fails(1).contains("lint violation found for rules: LegacyKeyValueFormat\nhint: the comment"));
    }
    build(&machine, file, &["--target", "plain"]).ok();
    let odd = build(&machine, "# check=skipp=x\nFROM scratch\nENV A=1\n", &[]).fails(1);
    assert!(odd.contains("failed to parse check options: invalid check option \"skipp\""), "{odd}");
    // What was wrong above an error is told with it.
    let broken = build(&machine, "FROM scratch AS Big\nCOPPY a b\n", &["--check"]);
    assert!(broken.out.contains("StageNameCasing"), "{}", broken.out);
    assert!(broken.fails(1).contains("unknown instruction: COPPY"));
}
