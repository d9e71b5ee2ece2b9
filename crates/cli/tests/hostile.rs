//! Bad input gets one clear sentence and leaves nothing behind.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::{Header, Tar};
use strata_testkit::{Machine, host, need};

/// One sentence on standard error with these words in it, the given exit code, and a store that is as it was.
#[track_caller]
fn refused(machine: &Machine, args: &[&str], code: i32, words: &[&str]) {
    let before = listing(machine);
    let ran = machine.strata(args);
    assert_eq!(ran.code, code, "strata {args:?}\nstdout: {}\nstderr: {}", ran.out, ran.err);
    for word in words {
        assert!(ran.err.contains(word), "strata {args:?}: no `{word}` in: {}", ran.err);
    }
    let talk: Vec<&str> = ran.err.lines().filter(|line| !line.is_empty()).collect();
    assert!(talk.len() <= 4 && !ran.err.contains("panicked"), "strata {args:?} said: {}", ran.err);
    assert_eq!(listing(machine), before, "strata {args:?} left something behind");
}

/// Every file of the store but the database's own, and what is known of it.
fn listing(machine: &Machine) -> String {
    machine.sh("[ ! -d store ] || find store -mindepth 1 ! -name 'strata.db*' ! -path '*/known/*' -printf '%P %y\\n' | sort").ok()
}

fn write(machine: &Machine, name: &str, bytes: &[u8]) {
    std::fs::write(machine.dir().join(name), bytes).unwrap();
}

/// A machine whose store has one good image and its folders.
fn machine_with_busybox() -> Machine {
    let machine = Machine::isolated();
    write(&machine, "busybox.tar", &Image::busybox().docker_archive("busybox:1"));
    machine.strata(["load", "-i", "busybox.tar"]).ok();
    machine.strata(["run", "--rm", "--network", "none", "busybox:1", "true"]).ok();
    machine
}

#[test]
fn names_that_do_not_parse_or_are_not_there() {
    need!(host::root(), host::program("busybox"));
    let machine = machine_with_busybox();
    for bad in ["UPPER", "a//b", "-x", "a:b:c", "repo:tag with space", "http://example.org/x", "x@sha256:abc", ""] {
        for verb in [["pull", "--", bad].as_slice(), &["tag", "--", "busybox:1", bad], &["commit", "--", "none", bad]] {
            let ran = machine.strata(verb);
            assert_eq!(ran.code, 1, "{verb:?}: {}", ran.err);
        }
    }
    refused(&machine, &["pull", "UPPER"], 1, &["invalid reference format", "lowercase"]);
    refused(&machine, &["inspect", "nothing"], 1, &["nothing"]);
    refused(&machine, &["rmi", "nothing"], 1, &["No such image", "nothing"]);
    refused(&machine, &["rm", "nothing"], 1, &["No such container", "nothing"]);
    refused(&machine, &["tag", "nothing", "other"], 1, &["No such image"]);
    refused(&machine, &["history", "nothing"], 1, &["No such image"]);
    refused(&machine, &["run", "--rm", "--pull", "never", "nothing", "true"], 125, &["nothing"]);
    refused(&machine, &["run", "--nonsense", "busybox:1"], 125, &["--nonsense"]);
    refused(&machine, &["frobnicate"], 1, &["frobnicate"]);
}

#[test]
fn there_is_no_network() {
    need!(host::root(), host::program("busybox"));
    let machine = machine_with_busybox();
    refused(&machine, &["pull", "127.0.0.1:1/nothing/here"], 1, &["127.0.0.1:1", "refused"]);
    refused(&machine, &["pull", "registry.invalid/nothing/here"], 1, &["registry.invalid"]);
    refused(&machine, &["push", "127.0.0.1:1/nothing/here"], 1, &["127.0.0.1:1/nothing/here"]);
}

#[test]
fn an_image_in_use_is_kept() {
    need!(host::root(), host::program("busybox"));
    let machine = machine_with_busybox();
    machine.strata(["create", "--name", "user", "--network", "none", "busybox:1"]).ok();
    refused(&machine, &["rmi", "busybox:1"], 1, &["conflict", "is using its referenced image"]);
    machine.strata(["rm", "user"]).ok();
    machine.strata(["rmi", "busybox:1"]).ok();
    assert_eq!(machine.strata(["images", "-q"]).ok(), "");
}

/// An archive whose only layer is `layer` is not loaded.
#[track_caller]
fn layer_refused(machine: &Machine, layer: Vec<u8>, words: &[&str]) {
    write(machine, "bad.tar", &Image::new().layer(layer, Compression::Plain).docker_archive("bad:1"));
    refused(machine, &["load", "-i", "bad.tar"], 1, words);
}

#[test]
fn names_in_a_layer_that_leave_its_root() {
    need!(host::root(), host::program("busybox"));
    let machine = machine_with_busybox();
    layer_refused(&machine, Tar::new().file("../outside", 0o644, b"x").finish(), &["../outside"]);
    layer_refused(&machine, Tar::new().file("a/../../outside", 0o644, b"x").finish(), &["a/../../outside"]);
    layer_refused(
        &machine,
        Tar::new().file("a", 0o644, b"x").hardlink("b", "../../etc/passwd").finish(),
        &["etc/passwd"],
    );
    layer_refused(&machine, Tar::new().hardlink("b", "missing").finish(), &["`b`", "links to"]);
    assert!(!machine.dir().join("outside").exists());
}

#[test]
fn a_link_in_one_entry_does_not_lead_the_next_one_outside() {
    need!(host::root(), host::program("busybox"));
    for driver in ["erofs", "overlay", "vfs"] {
        let machine = Machine::isolated();
        let target = machine.dir().join("outside");
        std::fs::create_dir(&target).unwrap();
        let layer = Tar::new().symlink("door", target.to_str().unwrap()).file("door/planted", 0o644, b"x").file(
            "/absolute",
            0o644,
            b"stays inside\n",
        );
        let image = Image::busybox().layer(layer.finish(), Compression::Plain);
        write(&machine, "door.tar", &image.docker_archive("door:1"));
        let load = machine.strata(["--storage-driver", driver, "load", "-i", "door.tar"]);
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0, "{driver}: written outside: {load:?}");
        if load.code == 0 {
            let run = ["--storage-driver", driver, "run", "--rm", "--network", "none", "door:1", "cat", "/absolute"];
            assert_eq!(machine.strata(run).ok(), "stays inside\n");
        }
    }
}

#[test]
fn archives_that_are_cut_or_no_archives() {
    need!(host::root(), host::program("busybox"));
    let machine = machine_with_busybox();
    let whole = Image::new().layer(Tar::new().file("x", 0o644, &[7; 100_000]).finish(), Compression::Plain);
    let whole = whole.docker_archive("cut:1");
    write(&machine, "cut.tar", &whole[..60_000]);
    refused(&machine, &["load", "-i", "cut.tar"], 1, &["cut.tar"]);
    write(&machine, "noise.tar", &[0x5a; 5000]);
    refused(&machine, &["load", "-i", "noise.tar"], 1, &["noise.tar"]);
    write(&machine, "empty.tar", &[]);
    refused(&machine, &["load", "-i", "empty.tar"], 1, &["empty.tar"]);
    refused(&machine, &["load", "-i", "missing.tar"], 1, &["missing.tar", "no such file or directory"]);
    let lying = String::from_utf8_lossy(&Image::new().config_bytes()).into_owned();
    let wrong = Tar::new()
        .file("c.json", 0o644, lying.replace("[]", &format!("[\"sha256:{}\"]", "0".repeat(64))).as_bytes())
        .file("l/layer.tar", 0o644, &Tar::new().dir("x/").finish())
        .file("manifest.json", 0o644, br#"[{"Config":"c.json","RepoTags":["w:1"],"Layers":["l/layer.tar"]}]"#);
    write(&machine, "wrong.tar", &wrong.finish());
    refused(&machine, &["load", "-i", "wrong.tar"], 1, &["0000000000"]);
}

#[test]
fn headers_past_their_limits() {
    need!(host::root(), host::program("busybox"));
    let machine = machine_with_busybox();
    let huge = vec![b'x'; 40 << 20];
    layer_refused(&machine, Tar::new().pax(&[("comment", &huge)]).file("a", 0o644, b"").finish(), &["limit"]);
    let long = "d/".repeat(5000);
    layer_refused(&machine, Tar::new().pax(&[("path", long.as_bytes())]).file("a", 0o644, b"").finish(), &["long"]);
    let lying = Header { size: Some(1 << 30), ..Header::new(b'0', "short") };
    layer_refused(&machine, Tar::new().entry(&lying, b"few").raw(&[0; 512]).finish(), &["short"]);
}

#[test]
fn a_small_blob_that_would_fill_the_disk() {
    need!(host::root(), host::program("busybox"), host::program("zstd"));
    let machine = machine_with_busybox();
    // 3 GiB of zeros make 100 KB of zstd: more than any honest layer compresses.
    let script = "mkdir -p bomb/blobs/sha256 && head -c 3221225472 /dev/zero | zstd -q -1 > bomb/layer";
    machine.sh(script).ok();
    let blob = std::fs::read(machine.dir().join("bomb/layer")).unwrap();
    let blobs = machine.dir().join("bomb/blobs/sha256");
    let put = |bytes: &[u8]| {
        let digest = strata_types::Digest::sha256(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        (digest, bytes.len())
    };
    let (layer, layer_size) = put(&blob);
    let (config, config_size) = put(format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#,
        "1".repeat(64)
    )
    .as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"{layer}","size":{layer_size}}}]}}"#
    );
    let (manifest, size) = put(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{manifest}",
        "size":{size},"annotations":{{"org.opencontainers.image.ref.name":"bomb:1"}}}}]}}"#
    );
    write(&machine, "bomb/index.json", index.as_bytes());
    write(&machine, "bomb/oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    refused(&machine, &["load", "-i", "bomb"], 1, &["limit"]);
}

#[test]
fn a_full_disk_in_the_middle_of_a_load() {
    need!(host::root(), host::program("busybox"));
    let machine = Machine::isolated();
    write(&machine, "busybox.tar", &Image::busybox().docker_archive("busybox:1"));
    let big = Image::busybox().layer(Tar::new().file("big", 0o644, &vec![9; 24 << 20]).finish(), Compression::Gzip);
    write(&machine, "big.tar", &big.docker_archive("big:1"));
    machine.sh("mkdir store && mount -t tmpfs -o size=16m tmpfs store").ok();
    machine.strata(["load", "-i", "busybox.tar"]).ok();
    machine.strata(["run", "--rm", "--network", "none", "busybox:1", "true"]).ok();
    refused(&machine, &["load", "-i", "big.tar"], 1, &["space"]);
    machine.strata(["check"]).ok();
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "busybox:1", "echo", "fine"]).ok(), "fine\n");
}
