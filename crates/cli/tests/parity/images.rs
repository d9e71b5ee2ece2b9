//! Images: lists, history, inspection, tags and removal.

use serde_json::json;
use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, need};

use super::{Pair, needs};

/// An image with everything that Docker's lists and inspections show.
fn rich() -> Image {
    let mut image = Image::busybox()
        .layer(Tar::new().file("a", 0o644, &[b'a'; 3000]).finish(), Compression::Gzip)
        .with("Labels", json!({"com.example.vendor": "us", "b": "2 words"}))
        .with("Entrypoint", json!(["sh", "-c"]))
        .with("Cmd", json!(["echo \"hi\" && sleep 1"]))
        .with("ExposedPorts", json!({"80/tcp": {}, "53/udp": {}}))
        .with("Volumes", json!({"/data": {}}))
        .with("WorkingDir", json!("/tmp"))
        .with("User", json!("user:wheel"))
        .with("StopSignal", json!("SIGUSR1"))
        .with("Healthcheck", json!({"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_u64, "Retries": 3}));
    // Another day than the other image's, so that lists have one order.
    image.config["created"] = json!("2024-02-03T04:05:06Z");
    image.config["author"] = json!("Somebody <some@body.example>");
    let history = image.config["history"].as_array_mut().unwrap();
    let long = format!("/bin/sh -c #(nop)  ENV LONG={}", "x".repeat(80));
    history.push(
        json!({"created": "2024-02-03T04:05:06Z", "created_by": long, "empty_layer": true, "comment": "a comment"}),
    );
    image
}

#[test]
fn images_look_the_same() {
    need!(needs());
    let machine = Machine::isolated();
    let mut pair = Pair::start(&machine);
    for (file, image, name) in [
        ("one.tar", rich(), "example.com/team/rich:1.0"),
        (
            "two.tar",
            Image::busybox().layer(Tar::new().file("b", 0o644, b"b").finish(), Compression::Gzip),
            "plain:latest",
        ),
    ] {
        std::fs::write(machine.dir().join(file), image.docker_archive(name)).unwrap();
        pair.same(&["load", "-i", file]);
    }
    let rich = "example.com/team/rich:1.0";
    pair.same(&["tag", "plain", "plain:second"]);
    pair.same(&["tag", "plain:second", "docker.io/library/other"]);
    lists(&mut pair);
    for words in [
        &["history", rich][..],
        &["history", "--no-trunc", rich],
        &["history", "-q", rich],
        &["history", "-H=false", rich],
        &["history", "--format", "{{.ID}} {{.Size}} {{.Comment}} {{.CreatedAt}} {{.CreatedBy}}", rich],
        &["history", "--format", r"table {{.CreatedSince}}\t{{.Size}}", "plain"],
        &["image", "history", "nothing"],
    ] {
        pair.same(words);
    }
    inspections(&mut pair, rich);
    removals(&mut pair, rich);
    pair.finish();
}

fn lists(pair: &mut Pair<'_>) {
    for words in [
        &["images"][..],
        &["image", "ls"],
        &["images", "-q"],
        &["images", "-a", "--no-trunc"],
        &["images", "--no-trunc", "-q"],
        &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}"],
        &["images", "--format", r"table {{.ID}}\t{{.Repository}}\t{{.CreatedSince}}\t{{.CreatedAt}}"],
        &["images", "--format", "{{.Nope}}"],
        &["images", "--format", "{{nope}}"],
        &["images", "plain"],
        &["images", "plain:second"],
        &["images", "p*"],
        &["images", "example.com/team/rich"],
        &["images", "nothing"],
        &["images", "--filter", "reference=plain"],
        &["images", "--filter", "reference=*:second"],
        &["images", "--filter", "label=b"],
        &["images", "--filter", "label=com.example.vendor=us"],
        &["images", "--filter", "label=com.example.vendor=them"],
        &["images", "--filter", "dangling=true"],
        &["images", "--filter", "dangling=false", "-q"],
        &["images", "--filter", "since=plain:latest"],
        &["images", "--filter", "before=plain:latest"],
        &["images", "--filter", "nope=1"],
        &["images", "--filter", "dangling=perhaps"],
    ] {
        pair.same_by(words, lines);
    }
    pair.same_by(&["images", "--digests"], lines);
    pair.same_by(&["images", "--format", "{{json .}}"], lines);
}

/// Lines in order, and JSON as it is meant: Docker shows rows of one age in any order, and escapes `<` in some JSON.
fn lines(text: &str) -> String {
    let mut lines: Vec<String> =
        text.lines().map(|line| line.replace("\\u003c", "<").replace("\\u003e", ">")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn inspections(pair: &mut Pair<'_>, rich: &str) {
    for field in [
        "Id",
        "RepoTags",
        "RepoDigests",
        "Parent",
        "Comment",
        "Created",
        "Author",
        "Config",
        "Architecture",
        "Os",
        "Size",
        "RootFS",
    ] {
        pair.same(&["inspect", "--format", &format!("{{{{json .{field}}}}}"), rich]);
    }
    pair.same_code(&["inspect", "-f", "{{.Nope}}", rich]);
    pair.same_code(&["inspect", "-f", "{{", rich]);
    for words in [
        &["inspect", "-f", "{{.Config.Labels}} {{.Config.Env}} {{.Config.User}}", rich][..],
        &["image", "inspect", "-f", "{{index .RepoTags 0}}", rich],
        &["inspect", "-f", "{{.Id}}", "plain", rich],
        &["inspect", "--type", "image", "-f", "{{.Os}}/{{.Architecture}}", "plain"],
        &["inspect", "--type", "container", "plain"],
        &["inspect", "-f", "{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}}", rich],
        &["inspect", "-f", "{{with .Config.Healthcheck}}{{.StartPeriod}} {{.Retries}} {{json .Interval}}{{end}}", rich],
        &["inspect", "nothing"],
        &["image", "inspect", "nothing"],
        &["image", "inspect", "nothing", "plain", "-f", "{{.Id}}"],
    ] {
        pair.same(words);
    }
}

fn removals(pair: &mut Pair<'_>, rich: &str) {
    for words in [
        &["rmi", "nothing"][..],
        &["tag", "nothing", "x"],
        &["tag", "plain", "UPPER"],
        &["rmi", "plain:second"],
        &["rmi", "plain", "other"],
        &["image", "rm", rich],
        &["images", "-a"],
        &["image", "prune", "-f"],
    ] {
        pair.same(words);
    }
}
