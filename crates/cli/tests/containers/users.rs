//! User namespaces: root in a container is nobody outside, and files keep the ids they have inside.

use strata_testkit::{Machine, host, image::Image, need};

use super::{Lab, needs};

/// The first id that is given out without a line in /etc/subuid.
const FIRST: u32 = 1_879_048_192;

fn mapped(lab: &Lab, options: &str, script: &str) -> strata_testkit::machine::Ran {
    lab.script(&format!("--userns auto {options}"), script)
}

#[test]
fn roots_files_are_its_own_and_outside_it_is_nobody() {
    need!(needs());
    let lab = Lab::start();
    for (options, script, expected) in [
        ("", "cat /proc/self/uid_map | tr -s ' '; id -u", format!(" 0 {FIRST} 65536\n0\n")),
        (
            "",
            "stat -c '%u:%g' / /bin/busybox /etc/passwd /proc /dev /dev/pts /etc/hosts",
            "0:0\n0:0\n0:0\n65534:65534\n0:0\n0:0\n0:0\n".into(),
        ),
        ("", "touch /new && chown 5:6 /new && chmod 4755 /new && stat -c '%u:%g %a' /new", "5:6 4755\n".into()),
        ("", "rm /etc/group && echo x >> /etc/passwd && mv /home /house && ls -d /house", "/house\n".into()),
        (
            "-u user",
            "id -u; echo ok > /dev/stdout; echo x > /dev/null; touch /dev/shm/x; stat -c %u /dev/shm/x",
            "1000\nok\n1000\n".into(),
        ),
        (
            "",
            "mkdir /sys/x 2>/dev/null || echo read-only; echo h > /proc/sys/kernel/domainname 2>/dev/null || echo kept",
            "read-only\nkept\n".into(),
        ),
        (
            "",
            "mount -t tmpfs none /mnt 2>/dev/null || echo refused; mknod /null c 1 3 2>/dev/null || echo refused",
            "refused\nrefused\n".into(),
        ),
        ("--tmpfs /t:uid=7 --shm-size 1m", "stat -c %u /t; touch /t/x /dev/shm/x; stat -c %u /t/x", "7\n0\n".into()),
        (
            "--ulimit nofile=2000:3000 --oom-score-adj 500",
            "ulimit -n; cat /proc/self/oom_score_adj",
            "2000\n500\n".into(),
        ),
        (
            // Not /dev/null: other runtimes give the host's to their containers' users.
            "--device /dev/zero:/dev/sub/zeros",
            "head -c 3 /dev/sub/zeros | wc -c && stat -c %u /dev/sub/zeros",
            "3\n0\n".into(),
        ),
        ("--read-only --init --hostname here", "touch /x 2>/dev/null || hostname", "here\n".into()),
        ("--mount type=image,source=full,target=/image", "stat -c %u /image/bin/busybox", "0\n".into()),
        (
            "--sysctl net.ipv4.ip_forward=1",
            "cat /proc/sys/net/ipv4/ip_forward; cat /sys/class/net/lo/ifindex",
            "1\n1\n".into(),
        ),
        (
            "--userns auto:size=1000",
            "touch /x; chown 1000 /x 2>/dev/null || cut -c1-40 /proc/self/gid_map | awk '{print $3}'",
            "1000\n".into(),
        ),
    ] {
        let ran = mapped(&lab, options, script);
        assert_eq!((ran.code, ran.out.as_str()), (0, expected.as_str()), "{options}: {script}: {}", ran.err);
    }
    lab.strata("run -d --network none --userns auto --name web box sleep 1000").ok();
    let pid = lab.strata("inspect -f {{.State.Pid}} web").ok();
    let owner = lab.machine.sh(&format!("stat -c %u /proc/{}", pid.trim()));
    assert_eq!(owner.ok(), format!("{FIRST}\n"));
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn a_network_of_its_own_is_its_roots() {
    need!(needs());
    let lab = Lab::start();
    let seen = |script: &str| lab.machine.strata(["run", "--rm", "--userns", "auto", "box", "sh", "-c", script]);
    assert_eq!(seen("ls /sys/class/net").ok(), "eth0\nlo\n");
    assert_eq!(seen("tr '\\t' ' ' < /proc/sys/net/ipv4/ping_group_range").ok(), "0 65535\n");
    assert_eq!(seen("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").ok(), "0\n");
    lab.is_clean();
}

#[test]
fn what_is_committed_copied_and_exported_has_the_ids_inside() {
    need!(needs());
    let lab = Lab::start();
    lab.strata("run -d --network none --userns auto --name web box sleep 1000").ok();
    let exec = |script: &str| lab.machine.strata(["exec", "web", "sh", "-c", script]);
    exec("mkdir /data && echo one > /data/file && chown -R 5:6 /data && rm /etc/group").ok();
    assert_eq!(lab.strata("exec -u user web id -un").ok(), "user\n");
    assert_eq!(exec("cat /proc/self/uid_map | tr -s ' '").ok(), format!(" 0 {FIRST} 65536\n"));
    assert_eq!(lab.strata("diff web").ok(), "A /data\nA /data/file\nC /etc\nD /etc/group\n");
    // Copies, while it runs.
    let dir = lab.machine.dir().display().to_string();
    lab.machine.sh("mkdir -p in && echo two > in/two && chown -R 7:8 in").ok();
    lab.strata(&format!("cp {dir}/in web:/data/in")).ok();
    assert_eq!(exec("stat -c '%u:%g' /data/in /data/in/two; cat /data/in/two").ok(), "7:8\n7:8\ntwo\n");
    lab.strata(&format!("cp web:/data {dir}/out")).ok();
    assert_eq!(std::fs::read_to_string(lab.machine.dir().join("out/file")).unwrap(), "one\n");
    let tar = format!(
        "{} --root {} cp web:/data - | tar -tv --numeric-owner | awk '{{print $2, $6}}' | sort | head -2",
        host::strata().display(),
        lab.machine.root().display()
    );
    assert_eq!(lab.machine.sh(&tar).ok(), "5/6 data/\n5/6 data/file\n");
    // Images made of it work for those who have no namespace.
    lab.strata("commit web made").ok();
    assert_eq!(
        lab.machine
            .strata(["run", "--rm", "--network", "none", "made", "stat", "-c", "%u:%g", "/data/file", "/data/in/two"])
            .ok(),
        "5:6\n7:8\n"
    );
    lab.strata(&format!("export -o {dir}/tree.tar web")).ok();
    let listed = lab.machine.sh("tar -tvf tree.tar --numeric-owner data/file bin/busybox | awk '{print $2}'");
    assert_eq!(listed.ok(), "0/0\n5/6\n");
    // It starts again with what it wrote.
    lab.strata("restart -t 0 web").ok();
    assert_eq!(exec("cat /data/file; stat -c %u /data/file").ok(), "one\n5\n");
    lab.strata("rm -f web").ok();
    lab.is_clean();
}

#[test]
fn volumes_have_the_ids_inside_whoever_mounts_them() {
    need!(needs());
    let lab = Lab::start();
    let dir = lab.machine.dir().join("bind");
    std::fs::create_dir(&dir).unwrap();
    let options = format!("-v data:/data -v {}:/bind", dir.display());
    let held = lab.strata(&format!("run -d --network none --userns auto --name first {options} box sleep 1000"));
    held.ok();
    lab.machine.strata(["exec", "first", "sh", "-c", "echo x > /data/f; chown 5 /data/f; touch /bind/g"]).ok();
    // Another container has other ids outside.
    let seen = mapped(&lab, &options, "stat -c %u /data/f /bind/g; rm /bind/g; cut -c12-21 /proc/self/uid_map");
    assert_eq!(seen.ok(), format!("5\n0\n{}\n", FIRST + 65_536));
    assert_eq!(lab.script("-v data:/data", "stat -c %u /data/f").ok(), "5\n");
    lab.strata("rm -f first").ok();
    lab.strata("volume rm data").ok();
    lab.is_clean();
}

#[test]
fn no_two_containers_share_ids_and_those_of_removed_ones_are_free() {
    need!(needs());
    let lab = Lab::start();
    let first_of = |name: &str| lab.machine.strata(["inspect", "-f", "{{index .IDMappings.UidMap 0}}", name]).ok();
    for name in ["one", "two", "three"] {
        lab.strata(&format!("create --network none --userns auto --name {name} box")).ok();
    }
    assert_eq!(first_of("one"), format!("0:{FIRST}:65536\n"));
    assert_eq!(first_of("three"), format!("0:{}:65536\n", FIRST + 2 * 65_536));
    let two = first_of("two");
    lab.strata("rm two").ok();
    lab.strata("create --network none --userns auto:size=65536 --name four box").ok();
    assert_eq!(first_of("four"), two);
    // Many at once.
    let many = "for i in 1 2 3 4 5 6; do \"$@\" create --network none --userns auto box & done; wait";
    let program = host::strata();
    let root = lab.machine.root();
    let words = ["-c", many, "sh", program.to_str().unwrap(), "--root", root.to_str().unwrap()];
    let ids = String::from_utf8(lab.machine.command("sh").args(words).output().unwrap().stdout).unwrap();
    let mut firsts: Vec<String> = ids.lines().map(first_of).collect();
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts.len(), 6);
    for (options, why) in [
        ("--userns auto:nope", "invalid USER mode: auto:nope"),
        ("--userns auto --privileged", "privileged mode is incompatible with user namespaces"),
        ("--userns auto --pid host", "cannot share the host PID namespace when user namespaces are enabled"),
    ] {
        assert!(lab.strata(&format!("create --network none {options} box")).fails(1).contains(why), "{options}");
    }
    for id in ids.lines().chain(["one", "three", "four"]) {
        lab.strata(&format!("rm {id}")).ok();
    }
    lab.is_clean();
}

#[test]
fn every_driver_maps_ids() {
    need!(needs());
    for driver in ["overlay", "vfs"] {
        let machine = Machine::isolated();
        let file = machine.dir().join("box.tar");
        std::fs::write(&file, Image::busybox().docker_archive("box:latest")).unwrap();
        let strata = |words: &[&str]| machine.strata([&["--storage-driver", driver], words].concat());
        strata(&["load", "-qi", file.to_str().unwrap()]).ok();
        let script = "stat -c %u /bin/busybox; touch /x; chown 5 /x; rm /etc/group; stat -c %u /x";
        let run = ["run", "--network", "none", "--userns", "auto", "--name", "it", "box", "sh", "-c", script];
        assert_eq!(strata(&run).ok(), "0\n5\n", "{driver}");
        assert_eq!(strata(&["diff", "it"]).ok(), "C /etc\nD /etc/group\nA /x\n", "{driver}");
    }
}
