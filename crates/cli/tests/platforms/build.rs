//! `build --platform` for several platforms: one name for all of them.

use strata_testkit::arm64::SAYS;
use strata_testkit::machine::{Ran, feed};
use strata_testkit::peers::{Docker, Podman};
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, arm64, host, need};

use super::need_all;

/// Each platform has a stage of its own, whose RUN is a program of that processor's.
const DOCKERFILE: &str = r#"
FROM scratch AS base-amd64
COPY busybox /busybox
RUN ["/busybox", "touch", "/made"]
CMD ["/busybox", "echo", "amd64 says hello"]

FROM scratch AS base-arm64
COPY hello busybox /
COPY hello /other
RUN ["/hello", "/made", "/busybox", "true"]
CMD ["/hello"]

FROM base-$TARGETARCH
ARG TARGETPLATFORM TARGETVARIANT BUILDPLATFORM
LABEL target=$TARGETPLATFORM build=$BUILDPLATFORM
"#;

const BOTH: &str = "linux/amd64,linux/arm64";

fn build(machine: &Machine, options: &[&str]) -> Ran {
    let context = machine.dir().join("ctx");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(context.join("hello"), arm64::program()).unwrap();
    machine.sh("chmod 755 ctx/hello && cp -f /bin/busybox ctx/busybox").ok();
    let mut command = machine.strata_command(["build", "--network", "none", "-f", "-"]);
    command.args(options).arg("ctx");
    feed(command, DOCKERFILE.as_bytes())
}

fn lines(machine: &Machine, words: &[&str]) -> Vec<String> {
    machine.strata(words).ok().lines().map(str::to_owned).collect()
}

#[test]
fn one_name_stands_for_the_images_of_all_platforms() {
    need_all!();
    let machine = Machine::isolated();
    let built = build(&machine, &["--platform", BOTH, "-t", "app:1"]);
    assert_eq!(built.code, 0, "{}", built.err);
    assert!(built.err.contains("[linux/arm64 base-arm64 4/4] RUN"), "{}", built.err);
    let says = |options: &[&str], name: &str| {
        let ran = machine.strata(["run", "--rm", "--network", "none"].iter().chain(options).chain(&[name]));
        assert!(matches!(ran.code, 0 | 7), "{}", ran.err);
        ran.out
    };
    assert_eq!(says(&[], "app:1"), "amd64 says hello\n");
    assert_eq!(says(&["--platform", "linux/amd64"], "app:1"), "amd64 says hello\n");
    assert_eq!(says(&["--platform", "linux/arm64"], "app:1"), SAYS);
    let format = "{{.Architecture}} {{index .Config.Labels \"target\"}} {{index .Config.Labels \"build\"}}";
    for (options, expected) in [
        (&["--platform", "linux/arm64"][..], "arm64 linux/arm64 linux/amd64\n"),
        (&["--platform", "arm64/v8"], ""),
        (&[], "amd64 linux/amd64 linux/amd64\n"),
    ] {
        let shown = machine.strata(["image", "inspect", "-f", format].iter().chain(options).chain(&["app:1"]));
        assert_eq!(shown.out.trim_start(), expected, "{options:?} {}", shown.err);
    }
    let error = machine.strata(["image", "inspect", "--platform", "linux/s390x", "app:1"]).fails(1);
    assert!(error.contains("does not match the specified platform: wanted linux/s390x"), "{error}");
    // It is one image to look at, and pruning keeps what a name stands for.
    assert_eq!(lines(&machine, &["images", "-q"]).len(), 1);
    assert_eq!(lines(&machine, &["images", "-q", "-a"]).len(), 2);
    machine.strata(["tag", "app:1", "app:2"]).ok();
    machine.strata(["rmi", "app:1"]).ok();
    machine.strata(["image", "prune", "-f"]).ok();
    machine.strata(["check"]).ok();
    assert_eq!(says(&["--platform", "linux/arm64"], "app:2"), SAYS);
    // Nor is one of them in nobody's budget that a name stands for.
    machine.strata(["image", "keep", "app:2"]).ok();
    machine.strata(["system", "gc", "--keep", "1kB"]).ok();
    assert_eq!(says(&["--platform", "linux/arm64"], "app:2"), SAYS);
    machine.strata(["rmi", "app:2"]).ok();
    assert_eq!(lines(&machine, &["images", "-q", "-a"]), Vec::<String>::new());
    // All of it is remembered, for both.
    let again = build(&machine, &["--platform", BOTH, "-t", "app:1"]);
    assert_eq!(again.err.matches("CACHED").count(), 5, "{}", again.err);
    // A name that moves to one image stands for that only.
    build(&machine, &["--platform", "linux/amd64", "-t", "app:1"]).ok();
    let error = machine.strata(["image", "inspect", "--platform", "linux/arm64", "app:1"]).fails(1);
    assert!(error.contains("does not match"), "{error}");
}

#[test]
fn an_index_is_pushed_and_others_take_what_is_theirs() {
    need_all!();
    need!(host::program("docker-registry"), host::program("skopeo"), host::program("docker"));
    need!(Podman::available(), Docker::available());
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let name = format!("{}/app:1", registry.host());
    let built = build(&machine, &["--platform", BOTH, "-t", &name, "--push"]);
    assert_eq!(built.code, 0, "{}", built.err);
    let docker = machine.sh(&format!("docker manifest inspect --insecure {name}")).ok();
    let index: serde_json::Value = serde_json::from_str(&docker).unwrap();
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let platforms: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|entry| &entry["platform"]).collect();
    let expected = [("amd64", "linux"), ("arm64", "linux")]
        .map(|(architecture, os)| serde_json::json!({"architecture": architecture, "os": os}));
    assert_eq!(platforms, expected.iter().collect::<Vec<_>>());
    for processor in ["amd64", "arm64"] {
        let seen = machine.sh(&format!(
            "skopeo inspect --tls-verify=false --override-arch {processor} --format '{{{{.Architecture}}}} {{{{len .Layers}}}}' docker://{name}",
        ));
        assert!(seen.clone().ok().starts_with(processor), "{seen:?}");
    }
    // podman and the daemon of docker pull what is for another processor, too, and it is our image.
    let podman = Podman::new(&machine);
    podman.run(["pull", "-q", "--tls-verify=false", "--arch", "arm64", &name]).ok();
    let theirs = podman.run(["image", "inspect", "--format", "{{.Architecture}} {{.Id}}", &name]).ok();
    let ours =
        machine.strata(["image", "inspect", "--platform", "linux/arm64", "-f", "{{.Architecture}} {{.Id}}", &name]);
    let ours = ours.ok().replace("sha256:", "");
    assert_eq!(theirs, ours);
    let docker = Docker::start(&machine);
    docker.run(["pull", "-q", "--platform", "linux/arm64", &name]).ok();
    let theirs = docker.run(["image", "inspect", "--format", "{{.Architecture}} {{.Id}}", &name]).ok();
    assert_eq!(theirs.replace("sha256:", ""), ours);
    drop(docker);
    // Pushed again it is the same, and so it is from another store.
    let again = machine.strata(["push", &name]).ok();
    let digest = again.lines().last().unwrap().split(' ').nth(2).unwrap().to_owned();
    machine.strata(["rmi", "-f", &name]).ok();
    let pulled = machine.strata(["pull", "--platform", "linux/arm64", &name]).ok();
    assert!(pulled.contains(&format!("Digest: {digest}\n")), "{pulled} {again}");
    let ran = machine.strata(["run", "--rm", "--network", "none", "--platform", "linux/arm64", &name]);
    assert_eq!(ran.out, SAYS, "{}", ran.err);
}

#[test]
fn an_archive_holds_all_platforms() {
    need_all!();
    need!(host::program("skopeo"));
    let machine = Machine::isolated();
    build(&machine, &["--platform", BOTH, "-t", "app:1", "-o", "type=oci,dest=app.tar"]).ok();
    for processor in ["amd64", "arm64"] {
        let line = format!(
            "skopeo --insecure-policy copy -q --override-arch {processor} oci-archive:app.tar dir:{processor} && \
             skopeo inspect --format '{{{{.Architecture}}}}' dir:{processor}"
        );
        assert_eq!(machine.sh(&line).ok(), format!("{processor}\n"));
    }
    machine.strata(["rmi", "app:1"]).ok();
    assert!(machine.strata(["load", "-i", "app.tar"]).ok().contains("Loaded image: app:1"));
    build(&machine, &["--platform", BOTH, "-o", "out"]).ok();
    assert_eq!(
        machine.sh("cd out && echo */*").ok(),
        "linux_amd64/busybox linux_amd64/made linux_arm64/busybox linux_arm64/hello linux_arm64/made linux_arm64/other\n"
    );
    build(&machine, &["--platform", BOTH, "-o", "type=tar,dest=x.tar"]).ok();
    machine.sh("mkdir unpacked && tar -C unpacked -xf x.tar && diff -r out unpacked").ok();
}

#[test]
fn platforms_are_built_at_once_and_what_they_share_is_done_once() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::isolated();
    let archive = strata_testkit::image::Image::busybox().docker_archive("base:latest");
    machine.strata_with_input(["load"], &archive).ok();
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    // Each waits for the other, which one after the other would do for ever.
    let file = "FROM --platform=$BUILDPLATFORM base AS shared
RUN --mount=type=cache,id=count,target=/c echo done >> /c/log
FROM shared AS made
ARG TARGETARCH
RUN --mount=type=cache,id=meet,target=/c touch /c/$TARGETARCH && i=0 && \\
    until [ -e /c/amd64 ] && [ -e /c/arm64 ]; do i=$((i+1)); [ $i -lt 600 ] || exit 1; sleep 0.05; done && echo $TARGETARCH > /arch
RUN --mount=type=cache,id=count,target=/c wc -l < /c/log > /count
FROM scratch
COPY --from=made /arch /count /
";
    let build = |options: &[&str]| {
        let words = ["build", "--network", "none", "--platform", BOTH, "-f", "-", "-o", "out"];
        feed(machine.strata_command(words.iter().chain(options).chain(&["ctx"])), file.as_bytes())
    };
    let built = build(&["--progress", "plain"]);
    assert_eq!(built.code, 0, "{}", built.err);
    let read = |dir: &str| machine.sh(&format!("cat out/{dir}/arch out/{dir}/count")).ok();
    assert_eq!((read("linux_amd64").as_str(), read("linux_arm64").as_str()), ("amd64\n1\n", "arm64\n1\n"));
    // Each line is that of the step whose name stands last above it.
    let mut last = "";
    for line in built.err.lines().filter(|line| line.starts_with('#')) {
        let (number, text) = line.split_once(' ').unwrap();
        assert!(number == last || text.starts_with('[') || text.starts_with("exporting"), "{line}: {}", built.err);
        last = number;
    }
    // So it is without memory.
    machine.sh("rm -rf out").ok();
    let again = build(&["--no-cache", "-q"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!((read("linux_amd64").as_str(), read("linux_arm64").as_str()), ("amd64\n2\n", "arm64\n2\n"));
    // One that fails ends both.
    let failing = file.replace("wc -l", "false && wc -l");
    let words = ["build", "--network", "none", "--platform", BOTH, "-f", "-", "ctx"];
    let failed = feed(machine.strata_command(words), failing.as_bytes()).fails(1);
    assert_eq!(failed.matches("did not complete successfully").count(), 1, "{failed}");
}

#[test]
fn a_base_for_another_platform_is_taken_and_told_of() {
    need_all!();
    need!(host::program("docker-registry"));
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let base = format!("{}/base:1", registry.host());
    let dockerfile = |text: &str, options: &[&str]| -> Ran {
        let mut command = machine.strata_command(["build", "--network", "none", "-f", "-"]);
        command.args(options).arg("ctx");
        feed(command, text.as_bytes())
    };
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    dockerfile("FROM scratch\nENV A=1\n", &["--platform", "linux/amd64", "-q", "-t", &base, "--push"]).ok();
    machine.strata(["rmi", &base]).ok();
    let message = format!(
        "InvalidBaseImagePlatform: Base image {base} was pulled with platform \"linux/amd64\", expected \"linux/arm64\" \
         for current build (line 2)"
    );
    let file = format!("ARG ARCH=arm64\nFROM {base}\nENV foo=bar\n");
    let built = dockerfile(&file, &["--platform", "linux/arm64", "-t", "app"]);
    assert!(built.err.contains(&message), "{}", built.err);
    built.ok();
    let inspected = machine.strata(["image", "inspect", "-f", "{{.Architecture}} {{json .Config.Env}}", "app"]).ok();
    assert!(inspected.starts_with("amd64 ") && inspected.contains("\"foo=bar\""), "{inspected}");
    // It has no page of its own.
    let checked = dockerfile(&file, &["--platform", "linux/arm64", "--check"]);
    let expected = format!("\nWARNING: InvalidBaseImagePlatform\nBase image {base} was pulled with platform");
    assert!(checked.out.contains(&expected), "{}", checked.out);
    let json = dockerfile(&file, &["--platform", "linux/arm64", "--call=check,format=json"]).out;
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let keys: Vec<&String> = document["warnings"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ruleName", "description", "detail", "location"]);
    // FROM may ask for it itself; who asks for nothing gets what there is.
    let own = dockerfile(&file.replace("FROM ", "FROM --platform=linux/$ARCH "), &["-t", "app"]);
    assert!(own.err.contains(&message), "{}", own.err);
    own.ok();
    let native = dockerfile(&file, &["-t", "app"]);
    assert!(!native.err.contains("InvalidBaseImagePlatform"), "{}", native.err);
    native.ok();
}

#[test]
fn a_step_without_rules_of_its_own_has_the_emulator_passed_in() {
    need_all!();
    let machine = Machine::isolated();
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    std::fs::write(machine.dir().join("ctx/hello"), arm64::program()).unwrap();
    machine.sh("chmod 755 ctx/hello && cp -f /bin/busybox ctx/busybox").ok();
    let file = "FROM scratch\nCOPY hello busybox /\nRUN --security=insecure [\"/hello\", \"/made\", \"/busybox\", \"true\"]\n\
                RUN [\"/hello\", \"/made-too\", \"/hello\", \"/made-last\", \"/busybox\", \"true\"]\n";
    let mut command = machine.strata_command(["build", "--network", "none", "-f", "-", "--platform", "linux/arm64"]);
    command.args(["--allow", "security.insecure", "-t", "app", "ctx"]);
    let built = feed(command, file.as_bytes());
    assert_eq!(built.err.matches("is emulated, not those that it executes, because of --privileged").count(), 1);
    built.ok();
    let files = machine.strata(["run", "--rm", "--network", "none", "--entrypoint", "/busybox", "app", "ls", "/"]).ok();
    assert!(["made\n", "made-too\n", "made-last\n"].iter().all(|name| files.contains(name)), "{files}");
}
