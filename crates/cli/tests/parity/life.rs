//! Life and looking in: restarts, health, volumes, limits, events.

use strata_testkit::{Machine, need};

use super::containers::{pair, run};
use super::{Pair, needs};

/// Waits until both engines answer so.
fn until(pair: &Pair<'_>, words: &[&str], expected: &str) {
    let asked = std::time::Instant::now();
    loop {
        let (docker, strata) = pair.both(words);
        if docker.out.trim() == expected && strata.out.trim() == expected {
            return;
        }
        assert!(asked.elapsed().as_secs() < 60, "{words:?}: {docker:?} {strata:?}");
        std::thread::yield_now();
    }
}

#[test]
fn restarts_and_health_look_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    pair.prepare(&run(&[
        "-d",
        "--name",
        "failing",
        "--restart",
        "on-failure:2",
        "box",
        "sh",
        "-c",
        "echo run; exit 3",
    ]));
    until(&pair, &["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "failing"], "exited 2");
    let fields = "{{.State.Status}} {{.State.Running}} {{.State.Restarting}} {{.State.ExitCode}} {{json .HostConfig.RestartPolicy}}";
    pair.same(&["inspect", "-f", fields, "failing"]);
    pair.same(&["logs", "failing"]);
    pair.prepare(&run(&[
        "-d",
        "--name",
        "sick",
        "--health-interval",
        "100ms",
        "--health-retries",
        "1",
        "--health-cmd",
        "echo ill; exit 1",
        "box",
        "sleep",
        "1000",
    ]));
    until(&pair, &["inspect", "-f", "{{.State.Health.Status}}", "sick"], "unhealthy");
    pair.same(&["ps", "--filter", "health=unhealthy", "--format", "{{.Names}}"]);
    pair.same(&["ps", "--filter", "health=healthy", "--format", "{{.Names}}"]);
    pair.same(&["inspect", "-f", "{{with index .State.Health.Log 0}}{{.ExitCode}} {{json .Output}}{{end}}", "sick"]);
    pair.same_by(&["ps", "--format", "{{.Status}}"], |text| {
        text.lines().map(|line| line.split(" (").nth(1).unwrap_or_default().to_owned()).collect()
    });
    for since in ["0", "", "1h"] {
        pair.same(&["logs", "--since", since, "failing"]);
    }
    pair.same(&["stop", "-t", "0", "sick"]);
    pair.same(&["inspect", "-f", "{{.State.Health.Status}} {{.State.ExitCode}}", "sick"]);
    for options in [
        &["--restart", "always:3"][..],
        &["--restart", "nope"],
        &["--restart", "on-failure:x"],
        &["--restart", "always", "--rm"],
        &["--health-cmd", "true", "--no-healthcheck"],
        &["--health-cmd", "true", "--health-interval", "-1s"],
        &["--health-cmd", "true", "--health-retries", "-1"],
    ] {
        pair.same_code(&[&["create"], options, &["box", "true"]].concat());
    }
    pair.finish();
}

#[test]
fn volumes_look_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    for words in [
        &["volume", "create", "--label", "a=b", "data"][..],
        &["volume", "create", "data"],
        &["volume", "create", "--name", "named"],
        &["volume", "rm", "named"],
        &["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "memory"],
        &["volume", "ls"],
        &["volume", "ls", "-q"],
        &["volume", "ls", "--filter", "label=a", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}"],
        &["volume", "ls", "--filter", "dangling=true", "-q"],
        &["volume", "ls", "--filter", "name=mem", "-q"],
        &["volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}} {{json .Labels}}", "data"],
        &["volume", "inspect", "-f", "{{json .Options}}", "memory"],
        &["create", "--name", "user", "--network", "none", "-v", "data:/data:ro", "-v", "/anon", "box", "true"],
    ] {
        if words[0] == "create" {
            pair.prepare(words);
        } else {
            pair.same(words);
        }
    }
    for words in [
        &["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}} {{.Mode}} {{.Driver}};{{end}}", "user"]
            [..],
        &["volume", "ls", "-q", "--filter", "dangling=true"],
        &["rm", "-v", "user"],
        &["volume", "ls", "-q"],
        &["volume", "rm", "data", "memory"],
        &["volume", "prune", "-f"],
    ] {
        pair.same_by(words, |text| {
            let mut parts: Vec<&str> = text.trim().split(';').collect();
            parts.sort_unstable();
            parts.join(";")
        });
    }
    for words in [
        &["volume", "rm", "absent"][..],
        &["volume", "rm", "-f", "absent"],
        &["volume", "inspect", "absent"],
        &["volume", "create", "a/b"],
        &["volume", "create", "--name", "one", "two"],
        &["volume", "create", "-d", "nope", "x"],
        &["volume", "create", "-o", "nope=1", "x"],
        &["volume", "create", "-o", "type=tmpfs", "x"],
        &["volume", "ls", "--filter", "nope=1"],
    ] {
        pair.same_code(words);
    }
    pair.finish();
}

#[test]
fn limits_and_events_look_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = pair(&machine);
    let limits =
        ["-m", "64m", "--memory-reservation", "32m", "--cpu-shares", "512", "--cpuset-cpus", "0", "--pids-limit", "50"];
    pair.prepare(&[&["create", "--name", "web", "--network", "none"], &limits[..], &["box", "sleep", "1000"]].concat());
    pair.prepare(&["start", "web"]);
    let fields = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.MemoryReservation}} {{.CpuShares}} {{.CpusetCpus}} {{.PidsLimit}} {{.NanoCpus}} {{.CpuQuota}}{{end}}";
    pair.same(&["inspect", "-f", fields, "web"]);
    for words in [
        &["update", "--cpus", "0.5", "web"][..],
        &["update", "-m", "80m", "--memory-swap", "-1", "web"],
        &["update", "-m", "0", "--cpus", "0", "web"],
        &["inspect", "-f", fields, "web"],
        &["update", "--restart", "on-failure:3", "web"],
        &["inspect", "-f", "{{json .HostConfig.RestartPolicy}}", "web"],
        &["exec", "web", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes"],
        &["exec", "web", "cat", "/sys/fs/cgroup/cpu/cpu.shares"],
        &["exec", "web", "cat", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"],
        &["exec", "web", "cat", "/sys/fs/cgroup/pids/pids.max"],
        &["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web"],
        &["stats", "--no-stream", "absent"],
        &["pause", "web"],
        &["unpause", "web"],
        &["exec", "web", "false"],
        &["kill", "-s", "USR1", "web"],
        &["rename", "web", "net"],
        &["rm", "-f", "net"],
    ] {
        pair.same(words);
    }
    for words in [&["update", "web"][..], &["update", "-m", "1m", "web"], &["update", "--cpus", "1", "absent"]] {
        pair.same_code(words);
    }
    // Docker cuts times off to whole seconds: of `--until 0s` the last second would be missing.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = (now.as_secs() + 1).to_string();
    let kinds = ["container", "volume", "network"].map(|kind| format!("type={kind}"));
    let filters = ["-f", &kinds[0], "-f", &kinds[1], "-f", &kinds[2], "--format", "{{.Action}}"];
    let (docker, strata) = pair.both(&[&["events", "--since", "1h", "--until", &until], &filters[..]].concat());
    // Docker's exec events say more words, and sizes of terminals.
    let acts = |text: &str| -> Vec<String> {
        let known = [
            "create",
            "start",
            "die",
            "kill",
            "destroy",
            "rename",
            "pause",
            "unpause",
            "update",
            "exec_create",
            "exec_start",
            "exec_die",
            "mount",
            "unmount",
        ];
        let heads = text.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned());
        heads.filter(|head| known.contains(&head.as_str())).collect()
    };
    assert_eq!(acts(&docker.out), acts(&strata.out), "{}\n{}", docker.out, strata.out);
    pair.finish();
}
