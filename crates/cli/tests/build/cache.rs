//! What is not done twice, and what comes to the same everywhere.

use super::{build, inspect, machine, need_all, sh, write};

/// Which steps were done, by the words of the progress: `DONE` or `CACHED` for each step with a number in brackets.
pub(super) fn outcomes(err: &str) -> Vec<(String, bool)> {
    let ends: Vec<(&str, bool)> = err
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, rest)| rest.starts_with("DONE") || *rest == "CACHED")
        .map(|(number, rest)| (number, rest == "CACHED"))
        .collect();
    let name = |number: &str| {
        let line = err.lines().find(|line| line.split_once(' ').is_some_and(|(found, _)| found == number)).unwrap();
        line.split_once("] ").map(|(_, name)| name.to_owned())
    };
    ends.into_iter().filter_map(|(number, cached)| Some((name(number)?, cached))).collect()
}

fn check(err: &str, expected: &[(&str, bool)]) {
    let found = outcomes(err);
    let found: Vec<(&str, bool)> = found.iter().map(|(name, cached)| (name.as_str(), *cached)).collect();
    assert_eq!(found, expected, "{err}");
}

const FILE: &str = "FROM base\nCOPY a b /x/\nRUN cat /x/a > /made\nENV E=1\nRUN echo $E\nCOPY c /c\n";

#[test]
fn a_step_is_done_again_when_what_it_reads_is_other() {
    need_all!();
    let machine = machine(&[("a", "a"), ("b", "b"), ("c", "c")]);
    let names = ["FROM base", "COPY a b /x/", "RUN cat /x/a > /made", "RUN echo $E", "COPY c /c"];
    let with = |cached: [bool; 4]| -> Vec<(&str, bool)> {
        names.into_iter().zip([[false].as_slice(), &cached].concat()).collect()
    };
    let first = build(&machine, FILE, &["-t", "app"]);
    check(&first.err, &with([false; 4]));
    let id = inspect(&machine, "app", "{{.Id}}");
    check(&build(&machine, FILE, &["-t", "again"]).err, &with([true; 4]));
    assert_eq!(inspect(&machine, "again", "{{.Id}}"), id, "the same image, its times, too");

    // A time is nothing that a step reads; a file that it does not name is not, either.
    machine.sh("touch -d 2001-01-01 ctx/a").ok();
    write(&machine, "other", "other");
    check(&build(&machine, FILE, &[]).err, &with([true; 4]));
    write(&machine, "c", "other");
    check(&build(&machine, FILE, &[]).err, &with([true, true, true, false]));
    machine.sh("chmod 600 ctx/b").ok();
    check(&build(&machine, FILE, &[]).err, &with([false; 4]));
    check(&build(&machine, FILE, &["--no-cache"]).err, &with([false; 4]));
    check(&build(&machine, FILE, &["--no-cache-filter", "0"]).err, &with([false; 4]));
    check(&build(&machine, FILE, &["-t", "app"]).err, &with([true; 4]));
}

#[test]
fn an_argument_counts_where_it_is_declared() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM base\nRUN echo before\nARG A=1\nRUN echo $A > /a\n";
    build(&machine, file, &["-t", "one"]).ok();
    let two = build(
        &machine,
        file,
        &["-t", "two", "--build-arg", "A=2", "--build-arg", "HTTP_PROXY=x", "--build-arg", "UNUSED=1"],
    );
    check(&two.err, &[("FROM base", false), ("RUN echo before", true), ("RUN echo $A > /a", false)]);
    assert!(two.err.ends_with("[Warning] One or more build-args [UNUSED] were not consumed\n"), "{}", two.err);
    assert_eq!(sh(&machine, "two", "cat /a"), "2\n");
    assert!(!inspect(&machine, "two", "{{json .Config.Env}}").contains("HTTP_PROXY"));
}

#[test]
fn a_stage_that_comes_to_the_same_changes_nothing_after_it() {
    need_all!();
    let machine = machine(&[("in", "1")]);
    let file =
        "FROM base AS made\nCOPY in /in\nRUN echo always > /out\nFROM base\nCOPY --from=made /out /out\nRUN cat /out\n";
    build(&machine, file, &[]).ok();
    write(&machine, "in", "2");
    let second = build(&machine, file, &[]);
    let found = outcomes(&second.err);
    let cached: Vec<bool> =
        found.iter().filter(|(name, _)| !name.starts_with("FROM")).map(|(_, cached)| *cached).collect();
    assert_eq!(cached, [false, false, true, true], "{}", second.err);
}

#[test]
fn two_machines_come_to_the_same_image() {
    need_all!();
    let file = "FROM base\nWORKDIR /w\nCOPY . .\nRUN date > /dev/null; echo x > new; mkdir -p a/b; touch -d 2030-01-01 late; ln new twin\nCMD x\n";
    let ids = [(); 2].map(|()| {
        let machine = machine(&[("f", "f"), ("d/g", "g")]);
        build(&machine, file, &["-t", "app", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"]).ok();
        let newest = sh(&machine, "app", "find /w -newermt '2023-11-14 22:13:21' | grep -v '^/w$'; stat -c %Y /w/late");
        assert_eq!(newest, "1700000000\n");
        inspect(&machine, "app", "{{.Id}} {{.Created}} {{json .RootFS.Layers}}")
    });
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].contains(" 2023-11-14T22:13:20Z "), "{}", ids[0]);
}

#[test]
fn stages_nobody_needs_are_not_built_and_the_others_run_at_once() {
    need_all!();
    let machine = machine(&[]);
    // One stage waits for a visitor, the other one visits it.
    let waits = "RUN --network=host timeout 60 nc -l -p 7001 < /dev/null && touch /x";
    let visits = "RUN --network=host i=0; until nc 127.0.0.1 7001 < /dev/null || [ $((i=i+1)) = 600 ]; do usleep 50000; done; \
                  [ $i -lt 600 ] && touch /x";
    let file = format!(
        "FROM base AS one\n{waits}\nFROM base AS two\n{visits}\nFROM base AS unused\nRUN exit 1\nFROM base\n\
         COPY --from=one /x /1\nCOPY --from=two /x /2\n"
    );
    let ran = build(&machine, &file, &["-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.err.contains("exit 1"), "{}", ran.err);
    assert_eq!(build(&machine, &file, &["--target", "unused"]).code, 1);
}

#[test]
fn what_is_remembered_is_kept_and_forgotten_on_demand() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM base\nRUN echo 1 > /one\nRUN head -c 100000 /dev/zero > /two\n";
    build(&machine, file, &["-t", "app"]).ok();
    machine.strata(["rmi", "app"]).ok();
    let again = build(&machine, file, &["-t", "app"]);
    check(
        &again.err,
        &[("FROM base", false), ("RUN echo 1 > /one", true), ("RUN head -c 100000 /dev/zero > /two", true)],
    );
    assert_eq!(sh(&machine, "app", "wc -c < /two"), "100000\n");
    assert_eq!(machine.strata(["check"]).code, 0);
    let cache = |machine: &strata_testkit::Machine| {
        let rows = machine.strata(["system", "df", "--format", "{{.Type}} {{.Size}} {{.Reclaimable}}"]).ok();
        rows.lines().find(|row| row.starts_with("Build Cache")).unwrap().to_owned()
    };
    assert_eq!(cache(&machine), "Build Cache 100kB 0B (0%)");
    machine.strata(["rmi", "app"]).ok();
    assert_eq!(cache(&machine), "Build Cache 100kB 100kB (100%)");
    let pruned = machine.strata(["builder", "prune", "-f"]).ok();
    assert!(pruned.ends_with("Total reclaimed space: 100kB\n"), "{pruned}");
    let layers = machine.sh("ls store/layers/*/ -d; ls store/layers/* | wc -l").ok();
    assert_eq!(machine.strata(["builder", "prune", "-f"]).ok(), "Total reclaimed space: 0B\n");
    let third = build(&machine, file, &[]);
    assert!(third.err.contains("DONE") && !third.err.contains("CACHED"), "{layers}{}", third.err);
}

#[test]
fn a_build_that_was_killed_leaves_only_what_the_next_one_uses() {
    need_all!();
    let machine = machine(&[]);
    let file = "FROM base\nRUN echo 1 > /one\nRUN echo started && sleep 1000\n";
    let mut command = machine.strata_command(["build", "--network", "none", "-"]);
    command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    {
        use std::io::Write as _;
        child.stdin.take().unwrap().write_all(file.as_bytes()).unwrap();
    }
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with("started")));
    // By its number inside: what was started here is nsenter, which waits for it.
    machine.sh("kill -9 $(ps ax -o pid,args | awk '/[s]trata.* build --network none -$/ { print $1 }')").ok();
    child.wait().unwrap();
    // Its container ends with it, and its shim takes away what is left.
    machine.sh("i=0; while [ -n \"$(ls store/containers)\" ] && [ $((i=i+1)) -lt 600 ]; do sleep 0.05; done").ok();
    assert_eq!(machine.sh("ls store/containers; ps ax | grep '[s]leep 1000'").out, "");
    assert!(machine.strata(["check"]).ok().starts_with("no problems"));
    let again = build(&machine, &file.replace("echo started && sleep 1000", "echo 2"), &[]);
    check(&again.err, &[("FROM base", false), ("RUN echo 1 > /one", true), ("RUN echo 2", false)]);
}

#[test]
fn without_cache_equal_steps_are_done_each() {
    need_all!();
    let machine = machine(&[]);
    let step = "RUN --mount=type=cache,target=/c echo x >> /c/log\n";
    let file = format!("FROM base\n{step}{step}RUN --mount=type=cache,target=/c wc -l < /c/log > /count\n");
    build(&machine, &file, &["--no-cache", "-t", "app"]).ok();
    assert_eq!(sh(&machine, "app", "cat /count"), "2\n");
}

#[test]
fn files_that_did_not_change_are_not_read_again() {
    need_all!();
    strata_testkit::need!(strata_testkit::host::program("strace"));
    let machine = machine(&[("one", "1"), ("two", "2"), ("dir/three", "3")]);
    let file = "FROM base\nCOPY one /x/\nCOPY dir /x/dir/\nCOPY two /x/\n";
    let past = "find ctx -exec touch -d '2020-01-01' {} +";
    machine.sh(past).ok();
    // What was touched just now is not believed: it is when two seconds have gone by.
    let opened = || -> Vec<String> {
        let mut command = machine.command("strace");
        command.args(["-f", "-qq", "-e", "trace=openat2,openat", "-o", "trace"]);
        command.arg(strata_testkit::host::strata()).arg("--root").arg(machine.root());
        command.args(["build", "-q", "--network", "none", "-f", "-", "ctx"]);
        strata_testkit::machine::feed(command, file.as_bytes()).ok();
        let trace = std::fs::read_to_string(machine.dir().join("trace")).unwrap();
        let is_opened = |name: &&str| {
            trace.lines().any(|line| {
                line.contains(&format!("\"{name}\"")) && line.contains("O_RDONLY") && !line.contains("O_PATH")
            })
        };
        ["one", "two", "dir/three"].into_iter().filter(is_opened).map(str::to_owned).collect()
    };
    assert_eq!(opened(), ["one", "two", "dir/three"]);
    machine.sh("i=0; until [ $(date +%s) -gt $(( $(stat -c %Z ctx/dir/three) + 2 )) ] || [ $((i=i+1)) = 200 ]; do sleep 0.05; done").ok();
    opened();
    assert_eq!(opened(), [""; 0]);
    machine.sh("echo 4 > ctx/two && touch -d '2020-01-01' ctx/two").ok();
    assert_eq!(opened(), ["two"]);
    let ran = build(&machine, file, &["-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(sh(&machine, "app", "cat /x/one /x/two /x/dir/three"), "14\n3");
    machine.strata(["builder", "prune", "-af"]).ok();
    assert!(!machine.root().join("build/stamps").exists());
    assert_eq!(build(&machine, file, &[]).code, 0);
}
