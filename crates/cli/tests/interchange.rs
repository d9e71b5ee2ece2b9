//! What docker, podman and skopeo push, save or build, strata pulls, loads and runs, and the other way round; ids are the same.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use strata_testkit::image::{Compression, Image};
use strata_testkit::peers::{Docker, Podman};
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};
use strata_types::Digest;

/// A busybox with a second layer that changes, deletes and hides.
fn image() -> Image {
    let change = Tar::new()
        .dir("etc/")
        .file("etc/greeting", 0o644, b"hello\n")
        .file("etc/.wh.group", 0o644, b"")
        .dir("home/")
        .file("home/.wh..wh..opq", 0o644, b"")
        .file("home/new", 0o600, b"new\n");
    Image::busybox().layer(change.finish(), Compression::Zstd).with("WorkingDir", serde_json::json!("/home"))
}

const SHOW: &str = "cat /etc/greeting; ls /etc /home; pwd";
const SHOWN: &str = "hello\n/etc:\ngreeting\nhostname\nhosts\npasswd\nresolv.conf\n\n/home:\nnew\n/home\n";

fn image_id(machine: &Machine, name: &str) -> String {
    machine.strata(["inspect", "--type", "image", "--format", "{{.Id}}", name]).ok().trim().to_owned()
}

fn layers(machine: &Machine, name: &str) -> String {
    machine.strata(["inspect", "--type", "image", "--format", "{{json .RootFS.Layers}}", name]).ok().trim().to_owned()
}

fn runs_as_expected(machine: &Machine, name: &str) {
    let shown = machine.strata(["run", "--rm", "--network", "none", name, "sh", "-c", SHOW]).ok();
    let without_mtab: String = shown.lines().filter(|line| *line != "mtab").map(|line| format!("{line}\n")).collect();
    assert_eq!(without_mtab, SHOWN);
}

#[test]
fn what_skopeo_pushed_is_pulled_and_pushed_back_byte_for_byte() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"), host::program("busybox"));
    let machine = Machine::start();
    let registry = Registry::start();
    let image = image();
    registry.push(&image, "busybox:1");
    let name = format!("{}/busybox:1", registry.host());

    machine.strata(["pull", &name]).ok();
    assert_eq!(image_id(&machine, &name), Digest::sha256(&image.config_bytes()).to_string());
    runs_as_expected(&machine, &name);

    let copy = format!("{}/copy/busybox:2", registry.host());
    machine.strata(["tag", &name, &copy]).ok();
    machine.strata(["push", &copy]).ok();
    let raw = |name: &str| {
        let mut skopeo = machine.command("skopeo");
        skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
        strata_testkit::machine::feed(skopeo, b"").ok()
    };
    assert_eq!(raw(&name), raw(&copy), "the manifest that was pulled is the one that is pushed");
}

#[test]
fn archives_go_to_docker_and_come_back() {
    need!(host::root(), Docker::available(), host::program("busybox"));
    let machine = Machine::isolated();
    let docker = Docker::start(&machine);
    std::fs::write(machine.dir().join("in.tar"), image().docker_archive("busybox:1")).unwrap();

    machine.strata(["load", "-i", "in.tar"]).ok();
    runs_as_expected(&machine, "busybox:1");
    machine.strata(["save", "-o", "ours.tar", "busybox:1"]).ok();
    docker.run(["load", "-i", "ours.tar"]).ok();
    assert_eq!(
        docker.run(["inspect", "--format", "{{.Id}}", "busybox:1"]).ok().trim(),
        image_id(&machine, "busybox:1")
    );
    assert_eq!(docker.run(["run", "--rm", "--network", "none", "busybox:1", "cat", "/etc/greeting"]).ok(), "hello\n");

    docker
        .run([
            "run",
            "--name",
            "box",
            "--network",
            "none",
            "busybox:1",
            "sh",
            "-c",
            "echo from docker > /who; rm /etc/greeting",
        ])
        .ok();
    docker.run(["commit", "-m", "by docker", "box", "theirs"]).ok();
    docker.run(["save", "-o", "theirs.tar", "theirs"]).ok();
    machine.strata(["load", "-i", "theirs.tar"]).ok();
    assert_eq!(docker.run(["inspect", "--format", "{{.Id}}", "theirs"]).ok().trim(), image_id(&machine, "theirs"));
    assert_eq!(
        docker.run(["inspect", "--format", "{{json .RootFS.Layers}}", "theirs"]).ok().trim(),
        layers(&machine, "theirs")
    );
    let show = ["run", "--rm", "--network", "none", "theirs", "sh", "-c", "cat /who; ls /etc/greeting"];
    let ran = machine.strata(show);
    assert_eq!((ran.code, ran.out.as_str()), (1, "from docker\n"), "{}", ran.err);
}

#[test]
fn what_we_commit_and_push_runs_in_docker() {
    need!(host::root(), Docker::available(), host::program("docker-registry"), host::program("busybox"));
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    let docker = Docker::start(&machine);
    std::fs::write(machine.dir().join("in.tar"), image().docker_archive("busybox:1")).unwrap();
    machine.strata(["load", "-i", "in.tar"]).ok();

    let change =
        "echo ours > /who; rm -r /home; mkdir /home; touch /home/other; ln /who /twin; ln -s who /link; mkfifo /pipe";
    machine.strata(["run", "--name", "box", "--network", "none", "busybox:1", "sh", "-c", change]).ok();
    let name = format!("{}/ours:latest", registry.host());
    machine.strata(["commit", "-m", "by strata", "-a", "somebody", "box", &name]).ok();
    machine.strata(["push", &name]).ok();

    docker.run(["pull", &name]).ok();
    assert_eq!(docker.run(["inspect", "--format", "{{.Id}}", &name]).ok().trim(), image_id(&machine, &name));
    assert_eq!(docker.run(["inspect", "--format", "{{.Author}} {{.Comment}}", &name]).ok(), "somebody by strata\n");
    let show = "cat /who /twin /link; ls /home; stat -c '%h %F' /twin /pipe";
    let theirs = docker.run(["run", "--rm", "--network", "none", "-w", "/", &name, "sh", "-c", show]).ok();
    assert_eq!(theirs, "ours\nours\nours\nother\n2 regular file\n1 fifo\n");
    let ours = machine.strata(["run", "--rm", "--network", "none", "-w", "/", &name, "sh", "-c", show]).ok();
    assert_eq!(ours, theirs);
}

#[test]
fn archives_and_layouts_go_to_podman_and_skopeo_and_come_back() {
    need!(host::root(), Podman::available(), host::program("skopeo"), host::program("busybox"));
    let machine = Machine::isolated();
    let podman = Podman::new(&machine);
    image().write_layout(&machine.dir().join("layout"), "localhost/busybox:1");

    machine.strata(["load", "-i", "layout"]).ok();
    runs_as_expected(&machine, "localhost/busybox:1");
    machine.strata(["save", "-o", "ours.tar", "localhost/busybox:1"]).ok();
    podman.run(["load", "-i", "ours.tar"]).ok();
    let theirs = podman.run(["inspect", "--type", "image", "--format", "{{.Id}}", "localhost/busybox:1"]).ok();
    assert_eq!(format!("sha256:{}", theirs.trim()), image_id(&machine, "localhost/busybox:1"));

    for (format, file) in [("docker-archive", "d.tar"), ("oci-archive", "o.tar"), ("oci-dir", "o")] {
        podman.run(["save", "--format", format, "-o", file, "localhost/busybox:1"]).ok();
        machine.strata(["rmi", "-f", "localhost/busybox:1"]).ok();
        machine.strata(["load", "-i", file]).ok();
        runs_as_expected(&machine, "localhost/busybox:1");
    }
    let copy = "skopeo --insecure-policy copy -q docker-archive:ours.tar oci:checked:1 && skopeo inspect oci:checked:1 >/dev/null";
    machine.sh(copy).ok();
}
