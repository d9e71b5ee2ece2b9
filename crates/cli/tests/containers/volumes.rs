//! Volumes and binds.

use strata_testkit::need;

use super::{Lab, needs};

#[test]
fn a_volume_of_the_image_starts_with_the_images_files() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("create --network none --name data --entrypoint cat full /etc/group").ok();
    assert!(lab.strata("start -a data").ok().contains("wheel:x:10:user\n"));
    assert_eq!(lab.machine.strata(["inspect", "-f", "{{(index .Mounts 0).Destination}}", "data"]).ok(), "/etc\n");
    // Another container writes to it and goes; what it wrote stays as long as the first.
    lab.script("--volumes-from data", "echo more >> /etc/group").ok();
    assert!(lab.strata("start -a data").ok().ends_with("more\n"));
    lab.strata("rm -v data").ok();
    lab.is_clean();
}

#[test]
fn named_volumes_and_binds_outlive_containers() {
    need!(needs());
    let lab = Lab::start();
    let dir = lab.machine.dir().join("made/for/it");
    let bind = format!("-v {}:/bind -v named:/named -v /anonymous", dir.display());
    lab.script(&bind, "echo a > /bind/file; echo b > /named/file; echo c > /anonymous/file").ok();
    assert_eq!(std::fs::read_to_string(dir.join("file")).unwrap(), "a\n");
    assert_eq!(
        lab.script("-v named:/elsewhere:ro", "cat /elsewhere/*; touch /elsewhere/x || echo read-only").out,
        "b\nread-only\n"
    );
    let volumes: Vec<_> = std::fs::read_dir(lab.machine.root().join("volumes")).unwrap().collect();
    assert_eq!(volumes.len(), 1, "the anonymous volume went with its container");
}

#[test]
fn a_file_an_image_and_memory_can_be_mounted() {
    need!(needs());
    let lab = Lab::start();
    let file = lab.machine.dir().join("file");
    std::fs::write(&file, "content\n").unwrap();
    let options = format!(
        "-v {}:/one/file:ro --mount type=image,source=full,target=/image --mount type=tmpfs,target=/memory",
        file.display()
    );
    let script = "cat /one/file; ls -d /image/bin/sh; touch /image/x 2>/dev/null || echo read-only; touch /memory/x && ls /memory";
    assert_eq!(lab.script(&options, script).ok(), "content\n/image/bin/sh\nread-only\nx\n");
    lab.is_clean();
}

#[test]
fn volumes_are_made_listed_shown_and_removed() {
    need!(needs());
    let lab = Lab::start();
    assert_eq!(lab.strata("volume create --label a=b data").ok(), "data\n");
    assert_eq!(lab.strata("volume ls").ok(), "DRIVER    VOLUME NAME\nlocal     data\n");
    assert_eq!(lab.strata("volume inspect -f {{.Labels.a}} data").ok(), "b\n");
    let id = lab.strata("create --network none -v data:/data box").ok();
    let in_use = format!("strata: remove data: volume is in use - [{}]\n", id.trim());
    assert_eq!(lab.strata("volume rm data").fails(1), in_use);
    lab.strata(&format!("rm {}", id.trim())).ok();
    assert_eq!(lab.strata("volume rm data").ok(), "data\n");
    assert_eq!(lab.strata("volume rm data").fails(1), "strata: get data: no such volume\n");
    lab.is_clean();
}
