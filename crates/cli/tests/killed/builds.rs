//! Builds: killed anywhere they leave nothing but memory of steps, which is used the next time.

use std::time::{Duration, Instant};

use strata_testkit::{host, need};

use super::bench::{Bench, Ground};
use super::{Operation, Scope, check, kill, words};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Steps of every kind: with a cache, with a tree that may be written and is thrown away, with files of the context and of
/// another stage.
const STEPS: &str = "FROM base AS first\n\
    RUN --mount=type=cache,target=/cache echo one >>/cache/list && cp /cache/list /list\n\
    FROM base\n\
    COPY file /copied\n\
    RUN --mount=type=bind,from=first,source=/etc,target=/first,rw echo new >/first/new && cp /first/new /made\n\
    COPY --from=first /list /list\n\
    WORKDIR /work\n";

fn context(bench: &Bench<'_>, dockerfile: &str) {
    let dir = bench.machine.dir().join("context");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(dir.join("file"), "a file").unwrap();
}

const BUILD: [&str; 7] = ["build", "--network", "none", "-t", "built", "--progress=plain", "context"];

/// Builds the image `built`.
pub(crate) fn built(bench: &Bench<'_>) {
    context(bench, STEPS);
    bench.strata(&BUILD).ok();
}

/// Nothing is there but what the store knows of. What a step leaves is removed by its shim, which hears of the end of the
/// builder a moment later.
fn assert_nothing_left(bench: &Bench<'_>) {
    let asked = Instant::now();
    let find = "find store/containers store/build/work store/ingest -mindepth 1; \
                find store/layers store/build -mindepth 1 -name '.*'; ls /run/strata/*/*/shim.sock 2>/dev/null";
    loop {
        let left = bench.machine.sh(&format!("{find} || true")).out;
        if left.is_empty() {
            return;
        }
        assert!(asked.elapsed() < PATIENCE, "there is still\n{left}");
        std::thread::yield_now();
    }
}

#[test]
fn build_can_be_killed_anywhere() {
    check(&Operation {
        scope: Scope::Steps,
        prepare: |_| {},
        begin: |bench| context(bench, STEPS),
        words: |_| words(&BUILD),
        done: |bench| {
            let script = "cat /copied /made && sort -u /list && ls /first /etc/new 2>&1; pwd";
            let run = ["run", "--rm", "--network", "none", "built", "sh", "-c", script];
            let seen = bench.strata(&run).ok();
            assert!(seen.starts_with("a filenew\none\n") && seen.ends_with("/work\n"), "{seen}");
            assert!(seen.contains("/etc/new: No such file"), "what was thrown away is there: {seen}");
            assert_nothing_left(bench);
        },
        again: &[0],
        failpoints_min: 10,
    });
}

#[test]
fn what_a_killed_build_has_done_is_not_done_again() {
    need!(host::root(), host::program("busybox"));
    let Some(template) = Bench::new(None, Ground::FIRST) else { return };
    context(&template, "FROM base\nRUN echo 1 >/1\nRUN echo 2 >/2\nCOPY file /3\nRUN echo 4 >/4\n");
    for (failpoint, cached) in
        [("engine.step.started:1", 0), ("engine.step.started:3", 3), ("engine.build.before-record", 4)]
    {
        let bench = template.copy(failpoint.to_owned());
        context(&bench, &std::fs::read_to_string(template.machine.dir().join("context/Dockerfile")).unwrap());
        kill(&bench, &BUILD, failpoint);
        let said = bench.strata(&BUILD);
        let said = format!("{}{}", said.err.clone(), said.ok());
        assert_eq!(said.lines().filter(|line| line.ends_with(" CACHED")).count(), cached, "{failpoint}: {said}");
        let seen = bench.strata(&["run", "--rm", "--network", "none", "built", "cat", "/1", "/2", "/3", "/4"]).ok();
        assert_eq!(seen, "1\n2\na file4\n", "{failpoint}");
        assert_nothing_left(&bench);
    }
}
