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
fn files_are_copied_through_the_volumes_of_a_stopped_container() {
    need!(needs());
    let lab = Lab::start();
    let bind = lab.machine.dir().join("bound");
    std::fs::create_dir(&bind).unwrap();
    std::fs::write(bind.join("old"), "old\n").unwrap();
    let options =
        format!("create --network none --name made -v data:/deep/data -v {}:/deep/bound:ro box true", bind.display());
    lab.strata(&options).ok();
    std::fs::write(lab.machine.dir().join("new"), "new\n").unwrap();
    lab.strata("cp new made:/deep/data/").ok();
    assert_eq!(lab.script("-v data:/x", "cat /x/new").ok(), "new\n");
    assert!(lab.strata("cp new made:/deep/bound/").fails(1).contains("read-only file system"));
    lab.strata("cp made:/deep got").ok();
    let read = |name: &str| std::fs::read_to_string(lab.machine.dir().join("got").join(name)).unwrap();
    assert_eq!((read("data/new"), read("bound/old")), ("new\n".to_owned(), "old\n".to_owned()));
    // It is as it was but for the places, and nothing stays mounted.
    let changes = lab.strata("diff made").ok();
    assert!(!changes.contains("new"), "{changes}");
    assert_eq!(lab.machine.sh("grep -c layers/empty /proc/self/mountinfo").out, "0\n");
    lab.strata("rm -v made").ok();
    assert!(bind.join("old").exists());
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

#[test]
fn what_is_copied_into_a_new_volume_keeps_owner_and_mode() {
    need!(needs());
    let lab = Lab::start();
    let script =
        "mkdir -m 750 /data /data/sub; echo a > /data/f; chmod 640 /data/f; chown -R 7:8 /data; ln -s f /data/l";
    lab.machine.strata(["run", "--network", "none", "--name", "maker", "box", "sh", "-c", script]).ok();
    lab.strata("commit maker made").ok();
    let look = ["sh", "-c", "stat -c '%a %u %g %n' /data /data/sub /data/f; readlink /data/l"];
    let expected = "750 7 8 /data\n750 7 8 /data/sub\n640 7 8 /data/f\nf\n";
    let run = |options: &[&str], command: &[&str]| {
        let head = ["run", "--rm", "--network", "none"];
        lab.machine.strata([&head, options, &["made"], command].concat())
    };
    assert_eq!(run(&["-v", "one:/data"], &look).ok(), expected);
    assert_eq!(run(&["-v", "/data"], &look).ok(), expected);
    assert_eq!(run(&["--mount", "type=volume,source=two,target=/data,volume-nocopy"], &["ls", "/data"]).ok(), "");
    assert_eq!(run(&["-v", "three:/data:nocopy"], &["ls", "/data"]).ok(), "");
    // Only an empty volume is filled; this one has something of its own.
    assert_eq!(run(&["-v", "two:/else"], &["touch", "/else/own"]).ok(), "");
    assert_eq!(run(&["-v", "two:/data"], &["ls", "/data"]).ok(), "own\n");
    assert_eq!(run(&["-v", "three:/data"], &["ls", "/data"]).ok(), "f\nl\nsub\n");
    // A directory of a volume.
    let part = "type=volume,source=one,target=/part,volume-subpath=sub";
    assert_eq!(run(&["--mount", part], &["stat", "-c", "%a %u", "/part"]).ok(), "750 7\n");
    let outside = run(&["--mount", "type=volume,source=one,target=/part,volume-subpath=../.."], &["true"]);
    assert_ne!(outside.code, 0);
    lab.strata("rm maker").ok();
    lab.strata("volume rm one two three").ok();
    lab.is_clean();
}

#[test]
fn volumes_are_taken_over_filtered_counted_and_pruned() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("volume create --label keep=yes named").ok();
    lab.strata("create --network none --name first -v named:/named -v /anonymous box").ok();
    let list = |line: &str| lab.strata(line).ok();
    assert_eq!(list("volume ls -q --filter dangling=true"), "");
    assert_eq!(list("volume ls -q --filter label=keep=yes"), "named\n");
    assert_eq!(
        list("volume ls --filter name=nam --format {{.Driver}}/{{.Name}}/{{.Labels}}"),
        "local/named/keep=yes\n"
    );
    assert_eq!(
        list("system df --format {{.Type}}={{.TotalCount}}/{{.Active}}").lines().nth(2),
        Some("Local Volumes=2/2")
    );
    let read_only = lab.script("--volumes-from first:ro", "touch /named/x 2>/dev/null || echo refused");
    assert_eq!(read_only.ok(), "refused\n");
    lab.script("--volumes-from first", "echo kept > /named/x; echo kept > /anonymous/x").ok();
    // Without -v the anonymous one stays, until it is pruned; those with names only if one says so.
    lab.strata("rm first").ok();
    assert_eq!(list("volume ls -q").lines().count(), 2);
    let pruned = list("volume prune -f");
    assert!(pruned.starts_with("Deleted Volumes:\n") && pruned.contains("\nTotal reclaimed space: "), "{pruned}");
    assert_eq!(list("volume ls -q"), "named\n");
    assert_eq!(list("volume prune -af --filter label!=keep"), "Total reclaimed space: 0B\n");
    assert!(list("volume prune -f --filter all=1").starts_with("Deleted Volumes:\nnamed\n"));
    let acts = list("events --since 1h --until 0s --filter volume=named --format {{.Action}}");
    assert_eq!(acts, "create\nmount\nunmount\nmount\nunmount\ndestroy\n");
    lab.is_clean();
}

#[test]
fn a_volume_can_be_a_directory_of_the_host_or_memory() {
    need!(needs());
    let lab = Lab::start();
    let dir = lab.machine.dir().join("host");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("there"), "").unwrap();
    lab.strata(&format!("volume create -o type=none -o device={} -o o=bind bound", dir.display())).ok();
    assert_eq!(lab.script("-v bound:/bound", "ls /bound; touch /bound/new").ok(), "there\n");
    assert!(dir.join("new").exists());
    lab.strata("volume create -o type=tmpfs -o device=tmpfs -o o=size=64k memory").ok();
    let size = lab.script("-v memory:/memory", "df -k /memory | tail -1 | awk '{print $2}'");
    assert_eq!(size.ok(), "64\n");
    let shown = lab.machine.strata(["volume", "inspect", "-f", "{{json .Options}}", "memory"]).ok();
    assert_eq!(shown, "{\"device\":\"tmpfs\",\"o\":\"size=64k\",\"type\":\"tmpfs\"}\n");
    let refused = lab.strata("volume create -o nope=1 bad").fails(1);
    assert_eq!(refused, "strata: create bad: invalid option: \"nope\"\n");
    lab.strata("volume rm bound memory").ok();
    assert!(dir.join("there").exists(), "what the host has stays");
    lab.is_clean();
}

#[test]
fn read_only_goes_deep_and_mounts_propagate_as_asked() {
    need!(needs());
    let lab = Lab::start();
    let dir = lab.machine.dir().join("tree");
    let shown = dir.display();
    lab.machine.sh(&format!("mkdir -p {shown}/sub && mount -t tmpfs tmpfs {shown}/sub && mkdir {shown}/later")).ok();
    let touch = "for f in /x/a /x/sub/a; do touch $f 2>/dev/null && echo wrote || echo refused; done";
    assert_eq!(lab.script(&format!("-v {shown}:/x:ro"), touch).ok(), "refused\nrefused\n");
    let mount = format!("--mount type=bind,source={shown},target=/x,readonly,bind-recursive=writable");
    assert_eq!(lab.script(&mount, touch).ok(), "refused\nwrote\n");
    let mount = format!("--mount type=bind,source={shown},target=/x,bind-recursive=disabled");
    assert_eq!(lab.script(&mount, "touch /x/sub/mine && ls /x/sub").ok(), "mine\n");
    // A later mount of the host arrives in a container that asked for it.
    lab.machine.sh(&format!("mount --bind {shown} {shown} && mount --make-shared {shown}")).ok();
    for (propagation, expected) in [("rslave", "mark\n"), ("rprivate", "")] {
        let mount = format!("type=bind,source={shown},target=/x,bind-propagation={propagation}");
        let words = ["run", "-d", "--network", "none", "--name", "prop", "--mount", &mount, "box", "sleep", "1000"];
        lab.machine.strata(words).ok();
        lab.machine.sh(&format!("mount -t tmpfs tmpfs {shown}/later && touch {shown}/later/mark")).ok();
        assert_eq!(lab.strata("exec prop ls /x/later").ok(), expected, "{propagation}");
        lab.machine.sh(&format!("umount {shown}/later")).ok();
        lab.strata("rm -f prop").ok();
    }
    lab.is_clean();
}

#[test]
fn a_volume_can_be_a_disk() {
    need!(needs(), strata_testkit::host::program("mkfs.ext4"), loop_devices());
    let lab = Lab::start();
    let disk = lab.machine.sh("truncate -s 8M disk && mkfs.ext4 -q disk && losetup -f --show $PWD/disk").ok();
    let disk = disk.trim();
    // The device goes when nobody has it mounted any more.
    let create = |name: &str, o: &str| lab.strata(&format!("volume create -o type=ext4 -o device={disk} {o} {name}"));
    create("disk", "-o o=noatime").ok();
    lab.script("-v disk:/disk", "echo kept > /disk/file; mkdir /disk/sub; touch /disk/sub/deep").ok();
    let seen = lab.script("-v disk:/disk:ro", "cat /disk/file; touch /disk/x 2>/dev/null || echo refused");
    assert_eq!(seen.ok(), "kept\nrefused\n");
    let words = ["--mount", "type=volume,source=disk,target=/x,volume-subpath=sub"];
    let run = |words: &[&str], script: &str| {
        let head = ["run", "--rm", "--network", "none"];
        lab.machine.strata([&head, words, &["box", "sh", "-c", script]].concat())
    };
    assert_eq!(run(&words, "ls /x").ok(), "deep\n");
    // Two at once have the same files.
    lab.strata("run -d --network none --name one -v disk:/disk box sleep 1000").ok();
    assert_eq!(lab.script("-v disk:/disk", "echo more > /disk/more").ok(), "");
    assert_eq!(lab.strata("exec one cat /disk/more").ok(), "more\n");
    let options = lab.strata("exec one grep /disk /proc/mounts").ok();
    assert!(options.contains("noatime") && options.contains("ext4"), "{options}");
    if lab.script("--userns auto", "true").code == 0 {
        assert_eq!(lab.script("--userns auto -v disk:/disk", "stat -c %u /disk/file").ok(), "0\n");
    }
    lab.strata("rm -f one").ok();
    create("bad", "-o o=nonsense").ok();
    let refused = lab.script("-v bad:/disk", "true");
    assert!(refused.clone().fails(125).contains("cannot mount `ext4 filesystem"), "{refused:?}");
    lab.strata("volume create -o type=nosuchfs -o device=none unknown").ok();
    assert!(lab.script("-v unknown:/x", "true").fails(125).contains("no such device"));
    lab.strata("volume rm disk bad unknown").ok();
    lab.machine.sh(&format!("losetup -d {disk}")).ok();
    lab.is_clean();
}

/// A file as a disk.
fn loop_devices() -> Result<(), String> {
    if std::path::Path::new("/dev/loop-control").exists() { Ok(()) } else { Err("loop devices".to_owned()) }
}

/// A container exchanges a directory of a volume for a link to the host's files while others are started on it.
#[test]
fn a_directory_of_a_volume_cannot_become_the_hosts() {
    const TRIES_MIN: u32 = 24;
    const TRIES_MAX: u32 = 500;
    need!(needs());
    let lab = Lab::start();
    lab.script("-v shared:/v", "mkdir /v/real /v/real/sub; touch /v/real/sub/mine; ln -s ../../../../../../../../../etc /v/link; ln -s real /v/dir").ok();
    let attack = "cd /v; while :; do ln -sfn link dir; ln -sfn real dir; ln -sfn /etc dir; ln -sfn real dir; done";
    let words = ["run", "-d", "--network", "none", "--name", "attacker", "-v", "shared:/v", "box", "sh", "-c", attack];
    lab.machine.strata(words).ok();
    let mount = ["--mount", "type=volume,source=shared,target=/m,volume-subpath=dir"];
    // Whoever begins sees the directory twice, and which of its states is luck: a good one comes sooner or later.
    let (mut seen, mut refused) = (0, 0);
    while seen + refused < TRIES_MIN || (seen == 0 && refused < TRIES_MAX) {
        let head = ["run", "--rm", "--network", "none"];
        let ran = lab.machine.strata([&head[..], &mount, &["box", "ls", "/m"]].concat());
        match ran.code {
            0 => {
                assert_eq!(ran.out, "sub\n", "the host's files are in the container");
                seen += 1;
            }
            _ => {
                assert!(ran.err.contains("in volume shared") || ran.err.contains("the path in the volume"), "{ran:?}");
                refused += 1;
            }
        }
    }
    assert!(seen > 0, "nobody was let through, {refused} were refused");
    lab.strata("rm -f attacker").ok();
    lab.strata("volume rm shared").ok();
    lab.is_clean();
}
