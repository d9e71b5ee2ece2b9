//! The whole engine: what takes how much room, pruning, versions, rotated logs, logging in.

use strata_testkit::image::{Compression, Image};
use strata_testkit::registry::{PASSWORD, Registry, USER};
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

use super::{Pair, needs};

/// Both engines with an image that containers use, one that nobody uses, and one without a name.
fn furnished(machine: &Machine) -> Pair<'_> {
    let mut pair = Pair::start(machine);
    let layer = |name: &str| Tar::new().file(name, 0o644, name.as_bytes()).finish();
    let mut lost = Image::busybox().layer(layer("lost"), Compression::Gzip);
    lost.config["created"] = serde_json::json!("2024-02-02T00:00:00Z");
    for (file, image, name) in [
        ("box.tar", Image::busybox(), "box:latest"),
        ("idle.tar", Image::new().layer(layer("idle"), Compression::Gzip), "idle:1"),
        ("lost.tar", lost, "lost:1"),
    ] {
        std::fs::write(machine.dir().join(file), image.docker_archive(name)).unwrap();
        pair.prepare(&["load", "-qi", file]);
    }
    // The second image takes the name away from the first.
    pair.prepare(&["tag", "idle:1", "lost:1"]);
    let words = ["run", "--network", "none", "--name", "ended", "-l", "a=1", "-v", "named:/v", "box", "sh", "-c"];
    pair.prepare(&[&words[..], &["head -c 5000 /dev/zero > /new; head -c 300 /dev/zero > /v/x"]].concat());
    pair.prepare(&["create", "--network", "none", "--name", "made", "-v", "/anonymous", "box", "true"]);
    pair.same(&["image", "ls", "-q", "-f", "dangling=true"]);
    pair
}

#[test]
fn what_takes_room_looks_the_same_and_is_pruned_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = furnished(&machine);
    pair.same(&["system", "df"]);
    pair.same(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}"]);
    pair.same(&["system", "df", "--format", r"table {{.Type}}\t{{.Active}}"]);
    pair.same_code(&["system", "df", "--format", "{{.Nope}}"]);
    pair.same_by(&["system", "df", "-v"], without_ids);
    pair.same_code(&["system", "df", "nonsense"]);
    prunes(&mut pair);
    pair.finish();
}

/// Rows without ids, ages and names at random; columns are as wide as what is in them.
fn without_ids(text: &str) -> String {
    let is_id = |word: &&str| word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
    // Newer clients round an image's size as in `images`, and two engines are not equally quick.
    let text = text.replace("Less than a second ago", "0 seconds ago").replace("1.982MB   1.982MB", "1.98MB 1.982MB");
    let kept = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !is_id(word)).collect();
        // Ages, of which a container has two, differ by how long the other engine took.
        let mut left: Vec<&str> = Vec::new();
        for word in words {
            match word {
                "second" | "seconds" => drop(left.pop()),
                "ago" => {}
                word => left.push(word),
            }
        }
        left.join(" ")
    };
    // Layers are shown by strata alone.
    let (layers, containers) = (text.find("Layers space usage:"), text.find("Containers space usage:"));
    let text = match (layers, containers) {
        (Some(from), Some(to)) if from < to => text[..from].to_owned() + &text[to..],
        _ => text,
    };
    let mut lines: Vec<String> = text.lines().map(kept).collect();
    lines.sort();
    lines.join("\n")
}

/// What is left of a pruning's report when ids and volumes' random names are gone.
fn report(text: &str) -> String {
    // What is freed counts configs and manifests here, which Docker forgets: about a kilobyte.
    let is_same = |line: &&str| {
        let is_id = line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit());
        !is_id && !line.starts_with("Total reclaimed space: ")
    };
    super::sorted(&text.lines().filter(is_same).collect::<Vec<_>>().join("\n"))
}

fn prunes(pair: &mut Pair<'_>) {
    for words in [
        &["container", "prune", "-f", "--filter", "label=b"][..],
        &["container", "prune", "-f", "--filter", "until=1h"],
        &["image", "prune", "-f", "--filter", "label=b"],
        &["system", "prune", "-f", "--filter", "label=b"],
        &["system", "prune", "-f", "--filter", "label!=a"],
        &["system", "prune", "-f", "--filter", "until=nonsense"],
        &["system", "prune", "-f", "--filter", "nope=1"],
        &["system", "prune", "--volumes", "-f", "--filter", "until=1h"],
        &["system", "prune", "nonsense"],
    ] {
        pair.same_code(words);
    }
    let left = |pair: &mut Pair<'_>| {
        pair.same(&["ps", "-a", "--format", "{{.Names}}"]);
        pair.same_by(&["images", "--format", "{{.Repository}}:{{.Tag}}"], super::sorted);
    };
    left(pair);
    pair.same_by(&["system", "prune", "-f"], report);
    left(pair);
    pair.same_by(&["system", "prune", "-af"], report);
    left(pair);
    // Docker 20.10 takes named volumes, too, which later versions leave alone.
    pair.same_code(&["system", "prune", "-af", "--volumes"]);
    let volumes = pair.machine.strata(["volume", "ls", "-q"]).ok();
    assert_eq!(volumes, "named\n");
    left(pair);
    pair.same(&["image", "prune", "-af"]);
    pair.same(&["container", "prune", "-f"]);
}

#[test]
fn the_engine_says_of_itself_what_docker_says() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = furnished(&machine);
    let counts = "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}}";
    for words in [
        &["info", "-f", counts][..],
        &["info", "--format", "{{.OSType}} {{.Architecture}} {{.NCPU}} {{.MemTotal}} {{.KernelVersion}}"],
        &["info", "--format", "{{.Name}} {{.CgroupDriver}} {{.LoggingDriver}}"],
        &["system", "info", "--format", "{{.Containers}}"],
        &["info", "-f", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}} {{.ExperimentalBuild}} {{.Debug}}"],
        &["info", "-f", "{{.IndexServerAddress}} {{json .Plugins.Volume}} {{.Isolation}} {{json .Labels}}"],
        &["version", "--format", "{{.Server.Os}}/{{.Server.Arch}} {{.Client.Os}} {{.Server.KernelVersion}}"],
    ] {
        pair.same(words);
    }
    for words in [
        &["info", "-f", "{{.Nope}}"][..],
        &["info", "-f", "{{"],
        &["info", "nonsense"],
        &["version", "-f", "{{.Nope}}"],
        &["version", "-f", "{{"],
        &["version", "nonsense"],
    ] {
        pair.same_code(words);
    }
    pair.finish();
}

#[test]
fn logs_rotate_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = Pair::start(&machine);
    std::fs::write(machine.dir().join("box.tar"), Image::busybox().docker_archive("box:latest")).unwrap();
    pair.prepare(&["load", "-qi", "box.tar"]);
    let script = "i=1000; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
    for (name, options) in [
        ("whole", &[][..]),
        ("rotated", &["--log-opt", "max-size=20k", "--log-opt", "max-file=3"]),
        ("one", &["--log-opt", "max-size=20k"]),
    ] {
        let words = [&["run", "--network", "none", "--name", name], options, &["box", "sh", "-c", script]].concat();
        pair.prepare(&words);
        pair.same(&["logs", "--tail", "3", name]);
        let (docker, strata) = pair.both(&["logs", name]);
        // Where a file ends depends on how many digits its times have: a line more or less in each.
        let (theirs, ours) = (docker.ok().lines().count(), strata.ok().lines().count());
        assert!(theirs.abs_diff(ours) <= 6, "{name}: docker kept {theirs} lines, strata {ours}");
    }
    for options in [["--log-opt", "max-size=x"], ["--log-opt", "max-file=0"], ["--log-opt", "nope=1"]] {
        pair.same_code(&[&["run", "--rm", "--network", "none"], &options[..], &["box", "true"]].concat());
    }
    pair.finish();
}

#[test]
fn who_logs_in_reads_the_same() {
    need!(needs(), host::program("docker-registry"));
    let machine = Machine::isolated();
    let mut pair = Pair::start(&machine);
    let registry = Registry::start_locked_in(&machine);
    let host = registry.host();
    for words in [
        &["login", "-u", USER, "-p", "wrong", &host][..],
        &["login", "-u", USER, &host],
        &["login", "-u", USER, "-p", PASSWORD, "--password-stdin", &host],
        &["login", "--password-stdin", &host],
        &["login", "-u", USER, "-p", PASSWORD, "127.0.0.1:1"],
        &["logout", "a", "b"],
    ] {
        pair.same_code(words);
    }
    pair.same_by(&["login", "-u", USER, "-p", PASSWORD, &host], |out| {
        out.lines().last().unwrap_or_default().to_owned()
    });
    pair.same(&["logout", "127.0.0.1:1"]);
    pair.finish();
}
