//! The same Dockerfile, built by docker: the same files, the same config.

use strata_testkit::image::Image;
use strata_testkit::peers::{Docker, Podman};
use strata_testkit::{Machine, host, need};

use super::{inspect, machine, sh, write};

/// A file with everything that docker's first builder understands.
const FILE: &str = r#"ARG BASE=base
FROM $BASE AS made
ARG GREETING="hello there"
ENV WHERE=/srv/app
WORKDIR $WHERE/sub
COPY dir ./dir
COPY *.txt dir/only.md texts/
ADD one.txt /added/
RUN echo "$GREETING from $PWD as $(id -u)" > greeting && chmod 640 greeting && ln -s greeting link && mkdir -m 700 private
RUN rm -r /home && mkdir /home && touch /home/new && chown user:wheel /home/new

FROM ${BASE}
MAINTAINER somebody <some@body>
LABEL one=1 "two words"="three 'more' words" three=$BASE
COPY --from=made /srv/app /srv/app
COPY --chown=user:wheel dir /owned
COPY --chown=7:8 one.txt /owned/number
ENV PATH=/opt/bin:$PATH A=a B=${A:-unset} C="x y"
ENV OLD old style value
EXPOSE 80 443/tcp 53/udp 8000-8002
VOLUME /data /more
WORKDIR /srv
WORKDIR app
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --timeout=3s --retries=2 CMD ["test", "-e", "/srv"]
SHELL ["/bin/ash", "-c"]
ONBUILD RUN echo child
RUN touch -d 2001-02-03 $C
USER user:wheel
ENTRYPOINT exec cat
CMD ["sub/greeting"]
"#;

/// Everything about every file but when it was written.
const LIST: &str = "cd / && find . -xdev ! -path './proc*' ! -path './sys*' ! -path './dev*' ! -path './etc/host*' \
    ! -path ./etc/resolv.conf ! -path ./etc/mtab ! -path ./run ! -path './run/*' ! -path ./data ! -path ./more | sort | while read -r f; do stat -c '%n %F %a %u %g' \"$f\"; \
    [ -h \"$f\" ] && readlink \"$f\"; [ -f \"$f\" ] && ! [ -h \"$f\" ] && md5sum < \"$f\"; done; true";

/// What lies beside the Dockerfiles.
const CONTEXT: &[(&str, &str)] = &[
    ("dir/a", "a\n"),
    ("dir/below/b", "b\n"),
    ("dir/only.md", "md\n"),
    ("dir/skipped.bak", "no\n"),
    ("one.txt", "1\n"),
    ("two.txt", "2\n"),
];
/// What lies there for docker's builders, too.
const IGNORED: &[(&str, &str)] = &[("three.bin", "3\n"), (".dockerignore", "**/*.bak\n# a comment\nthree.*\n")];

#[test]
fn docker_builds_the_same_files_and_the_same_config() {
    need!(host::root(), Docker::available(), host::program("busybox"));
    let machine: Machine = machine(&[CONTEXT, IGNORED].concat());
    write(&machine, "Dockerfile", FILE);
    let docker = Docker::start(&machine);
    std::fs::write(machine.dir().join("base.tar"), Image::busybox().docker_archive("base:latest")).unwrap();
    docker.run(["load", "-i", "base.tar"]).ok();
    let theirs =
        docker.command(["build", "--network", "none", "-t", "theirs", "ctx"]).env("DOCKER_BUILDKIT", "0").output();
    let theirs = strata_testkit::machine::Ran::from(theirs.unwrap());
    assert_eq!(theirs.code, 0, "{}{}", theirs.out, theirs.err);
    docker.run(["save", "-o", "theirs.tar", "theirs"]).ok();
    machine.strata(["load", "-i", "theirs.tar"]).ok();
    machine.strata(["build", "--network", "none", "-t", "ours", "ctx"]).ok();

    compare(&machine, &[]);
}

#[test]
fn buildah_builds_the_same_files_and_the_same_config() {
    need!(host::root(), Podman::available(), host::program("busybox"));
    let machine = machine(&[CONTEXT, &[(".dockerignore", "**/*.bak\n")]].concat());
    // It runs shell forms of ENTRYPOINT by /bin/sh whatever SHELL says, and leaves ranges of ports as they are.
    let file = FILE.replace(" 8000-8002", "").replace("SHELL [\"/bin/ash\", \"-c\"]\n", "");
    write(&machine, "Dockerfile", &file);
    let podman = Podman::new(&machine);
    std::fs::write(machine.dir().join("base.tar"), Image::busybox().docker_archive("base:latest")).unwrap();
    podman.run(["load", "-i", "base.tar"]).ok();
    let words = ["build", "--format", "docker", "--network", "none", "--pull=never", "-t", "theirs"];
    let theirs = podman.run(words.into_iter().chain(["--build-arg", "BASE=localhost/base", "ctx"]));
    assert_eq!(theirs.code, 0, "{}{}", theirs.out, theirs.err);
    podman.run(["save", "-o", "theirs.tar", "localhost/theirs"]).ok();
    machine.strata(["load", "-i", "theirs.tar"]).ok();
    machine.strata(["tag", "localhost/theirs", "theirs"]).ok();
    machine.strata(["tag", "base", "localhost/base"]).ok();
    machine.strata(["build", "--network", "none", "--build-arg", "BASE=localhost/base", "-t", "ours", "ctx"]).ok();
    // It adds a label with its version. No SHELL, no field.
    compare(&machine, &["Labels", "Shell"]);
}

/// What BuildKit understands and docker's first builder does not.
const BUILDKIT: &str = r#"
FROM base AS modern
RUN mkdir /modes
COPY --chmod=600 one.txt two.txt /modes/
COPY --chown=7:8 --chmod=751 dir /dressed
RUN --mount=type=bind,target=/ctx cat /ctx/one.txt > /from-bind && ! [ -e /ctx/three.bin ]
RUN --mount=type=cache,target=/cache echo 1 > /cache/x
RUN --mount=type=tmpfs,target=/t touch /t/x
WORKDIR /made/here
ENV A=1
ARG A=later
RUN mkdir /vars && echo "$A" > /vars/one && env | sort > /vars/all
ENV B=$A A=2
RUN echo "$A $B" > /vars/two
FROM made AS unneeded
RUN exit 1
FROM last
COPY --from=modern /modes /modes
COPY --from=modern /dressed /dressed
COPY --from=modern /from-bind /
COPY --from=modern /made /made
COPY --from=modern /vars /vars
"#;

#[test]
fn buildkit_builds_the_same_files_and_the_same_config() {
    need!(host::root(), Docker::available(), host::program("busybox"));
    let machine: Machine = machine(&[CONTEXT, IGNORED].concat());
    write(&machine, "Dockerfile", &(FILE.replace("FROM ${BASE}\n", "FROM ${BASE} AS last\n") + BUILDKIT));
    let docker = Docker::start(&machine);
    std::fs::write(machine.dir().join("base.tar"), Image::busybox().docker_archive("base:latest")).unwrap();
    docker.run(["load", "-i", "base.tar"]).ok();
    let words = ["build", "--network", "none", "--progress", "plain", "-t", "theirs", "ctx"];
    let theirs = docker.command(words).env("DOCKER_BUILDKIT", "1").output();
    let theirs = strata_testkit::machine::Ran::from(theirs.unwrap());
    assert_eq!(theirs.code, 0, "{}{}", theirs.out, theirs.err);
    docker.run(["save", "-o", "theirs.tar", "theirs"]).ok();
    machine.strata(["load", "-i", "theirs.tar"]).ok();
    machine.strata(["build", "--network", "none", "-t", "ours", "ctx"]).ok();
    compare(&machine, &[]);
}

/// Whether `ours` and `theirs` have the same files and the same config, but for these fields of it.
fn compare(machine: &Machine, except: &[&str]) {
    let fields = "User Env Cmd Entrypoint WorkingDir ExposedPorts Volumes Labels Healthcheck OnBuild Shell StopSignal";
    for field in fields.split(' ').filter(|field| !except.contains(field)) {
        let format = format!("{{{{json .Config.{field}}}}}");
        assert_eq!(inspect(machine, "ours", &format), inspect(machine, "theirs", &format), "{field}");
    }
    for field in ["Author", "Os", "Architecture"] {
        let format = format!("{{{{.{field}}}}}");
        assert_eq!(inspect(machine, "ours", &format), inspect(machine, "theirs", &format), "{field}");
    }
    assert_eq!(sh(machine, "ours", LIST), sh(machine, "theirs", LIST));
}

#[test]
fn a_cache_of_buildkits_is_passed_over() {
    need!(host::root(), Docker::available(), host::program("busybox"), host::program("docker-registry"));
    let machine: Machine = machine(&[("f", "f\n"), ("Dockerfile", "FROM base\nCOPY f /f\nRUN echo 1 > /x\n")]);
    let registry = strata_testkit::registry::Registry::start_in(&machine);
    let docker = Docker::start(&machine);
    std::fs::write(machine.dir().join("base.tar"), Image::busybox().docker_archive("base:latest")).unwrap();
    docker.run(["load", "-i", "base.tar"]).ok();
    let name = format!("{}/app:1", registry.host());
    let words = ["build", "--network", "none", "--build-arg", "BUILDKIT_INLINE_CACHE=1", "-t", &name, "ctx"];
    let theirs = docker.command(words).env("DOCKER_BUILDKIT", "1").output();
    let theirs = strata_testkit::machine::Ran::from(theirs.unwrap());
    assert_eq!(theirs.code, 0, "{}{}", theirs.out, theirs.err);
    docker.run(["push", "-q", &name]).ok();
    let ours = machine.strata(["build", "--network", "none", "--cache-from", &name, "-t", "ours", "ctx"]);
    assert_eq!(ours.code, 0, "{}", ours.err);
    assert!(ours.err.contains("importing cache manifest from") && !ours.err.contains("CACHED"), "{}", ours.err);
    assert_eq!(sh(&machine, "ours", "cat /f /x"), "f\n1\n");
}
