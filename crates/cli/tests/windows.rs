//! Windows images on Linux: pulled, looked at, compared, appended to, saved, loaded and pushed, byte for byte; never run.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use serde_json::{Value, json};
use strata_testkit::image::{Compression, Image};
use strata_testkit::machine::{Ran, feed};
use strata_testkit::mock_registry::{Act, MockRegistry};
use strata_testkit::peers::Docker;
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};
use strata_types::{Digest, media};

/// Owner and group: the administrators.
const SECURITY: &[u8] = b"AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAgAgAAAQIAAAAAAAUgAAAAIAIAAA==";
const VERSION: &str = "10.0.20348.2113";
const PLATFORM: &str = "windows/amd64";
const REFUSED: &str = "image operating system \"windows\" cannot be used on this platform";

/// As Windows exports a base layer.
fn base() -> Vec<u8> {
    let attributes = |tar: Tar, attributes: &str| {
        let time: (&str, &[u8]) = ("LIBARCHIVE.creationtime", b"1700000000.1234567");
        tar.pax(&[("MSWINDOWS.fileattr", attributes.as_bytes()), ("MSWINDOWS.rawsd", SECURITY), time])
    };
    let tar = attributes(Tar::new(), "16").dir("Files");
    let tar = attributes(tar, "32").file("Files/License.txt", 0o644, b"read me\r\n");
    let tar = tar.file("Files/License.txt:Zone.Identifier", 0o644, b"[ZoneTransfer]\r\n");
    let tar = tar.hardlink("Files/Copy.txt", "Files/License.txt");
    let tar = tar.pax(&[("MSWINDOWS.fileattr", b"1040"), ("MSWINDOWS.mountpoint", b"1")]);
    let tar = attributes(tar.symlink("Files/Documents and Settings", r"\??\C:\Users"), "16").dir("Hives");
    tar.file("Hives/Software_Base", 0o644, &[7; 3000]).dir("UtilityVM").dir("UtilityVM/Files").finish()
}

/// Links to a file of the layer below it, and takes another away.
fn top() -> Vec<u8> {
    let tar = Tar::new().dir("Files").file("Files/.wh.Copy.txt", 0o644, b"");
    tar.hardlink("Files/Again.txt", "Files/License.txt").file("Files/app.exe", 0o644, b"MZ").finish()
}

fn windows(layers: &[Vec<u8>]) -> Image {
    let mut image = Image::new();
    image.config["os"] = json!("windows");
    image.config["os.version"] = json!(VERSION);
    let compressions = [Compression::Gzip, Compression::Zstd];
    let pairs = layers.iter().zip(compressions.into_iter().cycle());
    pairs.fold(image, |image, (tar, compression)| image.layer(tar.clone(), compression))
}

fn inspect(machine: &Machine, name: &str, format: &str) -> String {
    machine.strata(["image", "inspect", "--format", format, name]).ok().trim().to_owned()
}

fn skopeo(machine: &Machine, args: &[&str]) -> Ran {
    let mut skopeo = machine.command("skopeo");
    skopeo.args(args);
    feed(skopeo, b"")
}

fn raw(machine: &Machine, name: &str) -> String {
    skopeo(machine, &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]).ok()
}

/// The blob of an OCI layout.
fn blob(machine: &Machine, layout: &str, digest: &Value) -> Vec<u8> {
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    std::fs::read(machine.dir().join(layout).join("blobs/sha256").join(hex)).unwrap()
}

#[test]
fn what_skopeo_pushed_is_pulled_saved_loaded_and_pushed_byte_for_byte() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"));
    let machine = Machine::start();
    let registry = Registry::start();
    let image = windows(&[base(), top()]);
    let id = Digest::sha256(&image.config_bytes()).to_string();
    registry.push(&image, "app:1");
    let (name, copy) = (format!("{}/app:1", registry.host()), format!("{}/copy:2", registry.host()));

    assert!(machine.strata(["pull", &name]).fails(1).contains(REFUSED));
    let wrong = machine.strata(["pull", "--platform", "windows(10.0.17763)/amd64", &name]).fails(1);
    assert!(wrong.contains("wanted windows(10.0.17763)/amd64, actual: windows(10.0.20348.2113)/amd64"), "{wrong}");
    machine.strata(["pull", "--platform", PLATFORM, &name]).ok();
    let shown = inspect(&machine, &name, "{{.Id}} {{.Os}} {{.OsVersion}} {{.GraphDriver.Name}}");
    assert_eq!(shown, format!("{id} windows {VERSION} windowsfilter"));
    assert_eq!(machine.strata(["history", "-q", "--no-trunc", &name]).ok().lines().next(), Some(&*id));

    let tar = format!("store/layers/windowsfilter/{}/tar", Digest::sha256(&base()).hex());
    machine.sh(&format!("printf Z | dd of={tar} bs=1 seek=600 conv=notrunc")).ok();
    machine.strata(["system", "check"]).fails(1);
    machine.strata(["system", "check", "--repair"]);
    machine.strata(["system", "check"]).ok();

    machine.strata(["tag", &name, &copy]).ok();
    machine.strata(["push", &copy]).ok();
    assert_eq!(raw(&machine, &name), raw(&machine, &copy), "the manifest that was pulled is the one that is pushed");

    machine.strata(["save", "-o", "ours.tar", &name]).ok();
    skopeo(&machine, &["--insecure-policy", "copy", "oci-archive:ours.tar", "oci:theirs:x"]).ok();
    machine.strata(["rmi", "-f", &id]).ok();
    machine.strata(["system", "prune", "-f"]).ok();
    assert_eq!(std::fs::read_dir(machine.root().join("layers/windowsfilter")).unwrap().count(), 0);
    let tarred = machine.sh("tar -C theirs -cf theirs.tar .");
    tarred.ok();
    machine.strata(["load", "-q", "-i", "theirs.tar"]).ok();
    machine.strata(["save", "-o", "again.tar", &id]).ok();
    for tar in [base(), top()] {
        let hex = Digest::sha256(&tar).hex().to_owned();
        machine.sh(&format!("tar -xOf again.tar blobs/sha256/{hex} | sha256sum | grep -q {hex}")).ok();
    }
    machine.strata(["system", "check"]).ok();
}

#[test]
fn it_is_never_run_built_on_or_mounted() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::start();
    std::fs::write(machine.dir().join("in.tar"), windows(&[base(), top()]).docker_archive("win:1")).unwrap();
    std::fs::write(machine.dir().join("linux.tar"), Image::busybox().docker_archive("busybox:1")).unwrap();
    machine.strata(["load", "-i", "in.tar"]).ok();
    machine.strata(["load", "-i", "linux.tar"]).ok();
    let far = ["run", "--platform", PLATFORM, "127.0.0.1:1/far", "cmd"];
    for args in [&["run", "--rm", "win:1", "cmd"][..], &["create", "win:1"], &far] {
        let refused = machine.strata(args);
        let code = if args[0] == "run" { 125 } else { 1 };
        assert!(refused.fails(code).contains(REFUSED), "{args:?}");
    }
    let mount = "type=image,source=win:1,target=/mnt";
    let refused = machine.strata(["run", "--rm", "--network", "none", "--mount", mount, "busybox:1", "true"]);
    assert!(refused.fails(125).contains(REFUSED));
    std::fs::create_dir(machine.dir().join("context")).unwrap();
    for (text, args) in [
        ("FROM --platform=windows/amd64 win:1\nRUN dir\n", &["build", "context"][..]),
        ("FROM scratch\nCOPY Dockerfile /\n", &["build", "--platform", PLATFORM, "context"]),
        ("FROM win:1\n", &["build", "context"]),
    ] {
        std::fs::write(machine.dir().join("context/Dockerfile"), text).unwrap();
        let refused = machine.strata(args).fails(1);
        assert!(refused.contains("operating system \"windows\" is not supported"), "{refused}");
    }
    assert_eq!(machine.strata(["ps", "-aq"]).ok(), "");
}

#[test]
fn docker_refuses_it_in_the_same_words() {
    need!(
        host::root(),
        Docker::available(),
        host::program("docker-registry"),
        host::program("skopeo"),
        host::program("busybox")
    );
    let machine = Machine::isolated();
    let registry = Registry::start_in(&machine);
    registry.push_in(&machine, &windows(&[base()]), "app:1");
    let name = format!("{}/app:1", registry.host());
    let docker = Docker::start(&machine);
    let theirs = docker.run(["pull", "--platform", PLATFORM, &name]).fails(1);
    assert!(theirs.contains(REFUSED), "{theirs}");
    machine.strata(["pull", "--platform", PLATFORM, &name]).ok();
    assert!(machine.strata(["run", &name]).fails(125).contains(REFUSED));
}

#[test]
fn one_of_several_versions_is_chosen() {
    need!(host::root());
    let (machine, registry) = (Machine::start(), MockRegistry::start());
    let mut manifests = Vec::new();
    for version in ["10.0.17763.5", "10.0.20348.9", "10.0.20348.10"] {
        let mut image = windows(&[base()]);
        image.config["os.version"] = json!(version);
        let digest = registry.put_image("app", version, &image);
        let size = registry.manifest("app", version).unwrap().1.len();
        let platform = json!({"os": "windows", "architecture": "amd64", "os.version": version});
        manifests.push(json!({"mediaType": media::OCI_MANIFEST, "digest": digest, "size": size, "platform": platform}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests}).to_string();
    registry.put_manifest("app", "1", media::OCI_INDEX, index.as_bytes());
    let name = format!("{}/app:1", registry.host());
    for (platform, expected) in [
        ("windows/amd64", "10.0.17763.5"),
        ("windows(10.0.20348)/amd64", "10.0.20348.10"),
        ("windows(10.0.20348.9)/amd64", "10.0.20348.9"),
    ] {
        machine.strata(["pull", "-q", "--platform", platform, &name]).ok();
        assert_eq!(inspect(&machine, &name, "{{.OsVersion}}"), expected, "{platform}");
    }
    let none = machine.strata(["pull", "--platform", "windows(10.0.14393)/amd64", &name]).fails(1);
    let sentence = "no matching manifest for windows(10.0.14393)/amd64 in the manifest list entries; there is";
    assert!(none.contains(sentence) && none.contains("windows(10.0.20348.10)/amd64"), "{none}");
    let linux = machine.strata(["pull", &name]).fails(1);
    assert!(linux.contains("no matching manifest for linux/"), "{linux}");
}

/// An image whose base layer is at a URL and nowhere else; gives the base's descriptor.
fn put_foreign(registry: &MockRegistry, repository: &str) -> Value {
    let image = windows(&[base(), top()]);
    let manifest = image.manifest(&|bytes| registry.put_blob(repository, bytes));
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let digest: Digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let elsewhere = registry.put_blob("elsewhere", &registry.blob(repository, &digest).unwrap());
    let url = format!("http://{}/v2/elsewhere/blobs/{elsewhere}", registry.host());
    manifest["layers"][0]["mediaType"] = json!(media::OCI_NONDISTRIBUTABLE_GZIP);
    manifest["layers"][0]["urls"] = json!([url]);
    registry.rule(
        "GET",
        &format!("/v2/{repository}/blobs/{digest}"),
        usize::MAX,
        Act::Answer(404, Vec::new(), String::new()),
    );
    registry.put_manifest(repository, "1", media::OCI_MANIFEST, &serde_json::to_vec(&manifest).unwrap());
    manifest["layers"][0].clone()
}

#[test]
fn layers_that_are_elsewhere_are_fetched_there_and_never_pushed() {
    need!(host::root(), host::program("docker-registry"), host::program("skopeo"));
    let (machine, mock, real) = (Machine::start(), MockRegistry::start(), Registry::start());
    let foreign = put_foreign(&mock, "app");
    let name = format!("{}/app:1", mock.host());
    machine.strata(["pull", "-q", "--platform", PLATFORM, &name]).ok();
    assert_eq!(mock.count("GET", "/v2/elsewhere/blobs/"), 1);

    let copy = format!("{}/copy:1", real.host());
    machine.strata(["tag", &name, &copy]).ok();
    let pushed = machine.strata(["push", &copy]).ok();
    assert!(pushed.contains("Skipped foreign layer"), "{pushed}");
    assert_eq!(raw(&machine, &copy).as_bytes(), mock.manifest("app", "1").unwrap().1);

    std::fs::write(machine.dir().join("more.tar"), Tar::new().dir("Files").finish()).unwrap();
    let grown = format!("{}/grown:1", real.host());
    machine.strata(["image", "append", &name, "more.tar", &grown]).ok();
    machine.strata(["push", "-q", &grown]).ok();
    let manifest: Value = serde_json::from_str(&raw(&machine, &grown)).unwrap();
    assert_eq!(manifest["layers"][0], foreign, "where it is goes with it");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 3);
    let from = format!("docker://{grown}");
    skopeo(&machine, &["--insecure-policy", "copy", "--src-tls-verify=false", &from, "oci:grown:x"]).ok();
    let more = blob(&machine, "grown", &manifest["layers"][2]["digest"]);
    std::fs::write(machine.dir().join("more.tar.gz"), more).unwrap();
    machine.sh("gzip -dc more.tar.gz | cmp - more.tar").ok();
}

#[test]
fn images_are_compared_and_appended_to() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::start();
    std::fs::write(machine.dir().join("in.tar"), windows(&[base(), top()]).docker_archive("win:1")).unwrap();
    machine.strata(["load", "-i", "in.tar"]).ok();
    let top_changes = "C /Files\nD /Files/Copy.txt\nA /Files/Again.txt\nA /Files/app.exe\n";
    assert_eq!(sorted(&machine.strata(["image", "diff", "win:1"]).ok()), sorted(top_changes));

    let hidden = Tar::new()
        .pax(&[("MSWINDOWS.fileattr", b"34"), ("MSWINDOWS.rawsd", SECURITY)])
        .file("Files/License.txt", 0o644, b"read me\r\n")
        .file("Files/.wh.app.exe", 0o644, b"")
        .finish();
    std::fs::write(machine.dir().join("hidden.tar"), &hidden).unwrap();
    let append = ["image", "append", "-m", "why", "-c", r#"CMD ["app.exe"]"#, "win:1", "hidden.tar", "win:2"];
    let id = machine.strata(append).ok();
    assert_eq!(inspect(&machine, "win:2", "{{.Id}}"), id.trim());
    assert_eq!(
        inspect(&machine, "win:2", "{{.Os}} {{.OsVersion}} {{json .Config.Cmd}} {{.Comment}}"),
        format!("windows {VERSION} [\"app.exe\"] why")
    );
    assert_eq!(inspect(&machine, "win:2", "{{len .RootFS.Layers}}"), "3");
    let history = machine.strata(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "win:2"]).ok();
    assert_eq!(history.lines().next(), Some("append hidden.tar"));
    let differ = machine.strata(["image", "diff", "win:2", "win:1"]).ok();
    assert_eq!(sorted(&differ), sorted("C /Files/License.txt\nD /Files/app.exe\n"));

    let evil = Tar::new().file(r"Files/..\..\Windows\evil.dll", 0o644, b"").finish();
    let refused = machine.strata_with_input(["image", "append", "win:1", "-"], &evil).fails(1);
    assert!(refused.contains("Windows does not take the name"), "{refused}");
    let linux = Tar::new().file("etc/passwd", 0o644, b"").finish();
    let refused = machine.strata_with_input(["import", "--platform", PLATFORM, "-"], &linux).fails(1);
    assert!(refused.contains("a Windows layer has nothing but `Files`, `Hives` and `UtilityVM/Files`"), "{refused}");
    let imported = machine.strata_with_input(["import", "--platform", "windows(10.0.1)/amd64", "-", "win:3"], &base());
    imported.ok();
    assert_eq!(inspect(&machine, "win:3", "{{.Os}} {{.OsVersion}}"), "windows 10.0.1");
}

#[test]
fn an_image_that_runs_here_is_appended_to_as_well() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::start();
    std::fs::write(machine.dir().join("linux.tar"), Image::busybox().docker_archive("busybox:1")).unwrap();
    machine.strata(["load", "-i", "linux.tar"]).ok();
    let layer = Tar::new().file("greeting", 0o644, b"hello\n").file("etc/.wh.group", 0o644, b"").finish();
    machine.strata_with_input(["image", "append", "busybox:1", "-", "more"], &layer).ok();
    let run = ["run", "--rm", "--network", "none", "more", "sh", "-c", "cat /greeting; ls /etc/group"];
    let ran = machine.strata(run);
    assert_eq!((ran.code, ran.out.as_str()), (1, "hello\n"), "{}", ran.err);
    let changes = machine.strata(["image", "diff", "more", "busybox:1"]).ok();
    assert_eq!(sorted(&changes), sorted("A /greeting\nD /etc/group\n"));
}

#[test]
fn a_store_that_moves_to_another_driver_keeps_it() {
    need!(host::root());
    let machine = Machine::start();
    let image = windows(&[base(), top()]);
    std::fs::write(machine.dir().join("in.tar"), image.docker_archive("win:1")).unwrap();
    machine.strata(["--storage-driver", "vfs", "load", "-i", "in.tar"]).ok();
    machine.strata(["system", "migrate", "overlay"]).ok();
    machine.strata(["save", "-o", "out.tar", "win:1"]).ok();
    let hex = Digest::sha256(&top()).hex().to_owned();
    machine.sh(&format!("tar -xOf out.tar blobs/sha256/{hex} | sha256sum | grep -q {hex}")).ok();
    machine.strata(["system", "check"]).ok();
    let refused = machine.strata(["system", "migrate", "windowsfilter"]).fails(1);
    assert!(refused.contains("beside whatever driver the store has"), "{refused}");
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}
