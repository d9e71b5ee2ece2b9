//! What a container changed: seen, committed, copied and exported, by the program as people call it.
#![allow(clippy::unwrap_used, reason = "tests")]

use strata_testkit::image::{Compression, Image};
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

/// A machine with the image `base` and a container `one` that changed something and ended.
fn machine() -> Machine {
    let machine = Machine::start();
    let archive = Image::busybox().docker_archive("base:latest");
    assert_eq!(machine.strata_with_input(["load"], &archive).ok(), "Loaded image: base:latest\n");
    let change = "echo new > /root/new; rm /etc/group; chmod 700 /home; mkdir -p /a/b; ln -s /etc/passwd /a/link";
    machine
        .strata(["run", "--name", "one", "--network", "none", "-l", "of=container", "base", "sh", "-c", change])
        .ok();
    machine
}

macro_rules! need_all {
    () => {
        need!(host::root(), host::program("busybox"))
    };
}

#[test]
fn a_diff_names_what_changed() {
    need_all!();
    let diff = machine().strata(["diff", "one"]).ok();
    for line in ["C /root", "A /root/new", "D /etc/group", "C /home", "A /a", "A /a/b", "A /a/link"] {
        assert!(diff.lines().any(|found| found == line), "{line} is missing in:\n{diff}");
    }
    assert!(!diff.contains("passwd"), "{diff}");
}

#[test]
fn a_commit_carries_the_configuration_over() {
    need_all!();
    let machine = machine();
    let words = ["commit", "-m", "why", "-a", "me <me@x>", "-c", r#"CMD ["cat", "/root/new"]"#, "one", "made:1"];
    let id = machine.strata(words).ok();
    let shown = "{{.Id}} {{.Author}} {{.Comment}} {{json .Config.Cmd}} {{json .Config.Labels}} {{len .RootFS.Layers}}";
    let inspected = machine.strata(["inspect", "-f", shown, "made:1"]).ok();
    let expected = r#"me <me@x> why ["cat","/root/new"] {"of":"container"} 2"#;
    assert_eq!(inspected, format!("{} {expected}\n", id.trim()));
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "made:1"]).ok(), "new\n");
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "made:1", "ls", "/etc/group"]).code, 1);
    let history = machine.strata(["history", "--format", "{{.CreatedBy}}|{{.Comment}}", "--no-trunc", "made:1"]).ok();
    assert!(history.starts_with("sh -c echo new > /root/new;") && history.contains("|why\n"), "{history}");
    let parent = machine.strata(["inspect", "-f", "{{.Parent}}", "made:1"]).ok();
    assert_eq!(parent, machine.strata(["inspect", "-f", "{{.Id}}", "base"]).ok());
    assert_eq!(
        machine.strata(["rmi", "base"]).fails(1),
        format!(
            "strata: conflict: unable to remove repository reference \"base\" (must force) - container {} is using its \
             referenced image {}\n",
            machine.strata(["ps", "-aq"]).ok().trim(),
            machine.strata(["images", "-q", "base"]).ok().trim(),
        )
    );
}

#[test]
fn a_commit_of_nothing_adds_no_layer() {
    need_all!();
    let machine = machine();
    machine.strata(["create", "--name", "two", "base"]).ok();
    machine.strata(["commit", "two", "same"]).ok();
    assert_eq!(machine.strata(["inspect", "-f", "{{len .RootFS.Layers}}", "same"]).ok(), "1\n");
}

#[test]
fn files_are_copied_by_dockers_rules() {
    need_all!();
    let machine = machine();
    machine.sh("mkdir -p in/sub && echo 1 > in/sub/f && ln -s sub in/link && chown -R 7:8 in").ok();
    let cp = |from: &str, to: &str| machine.strata(["cp", from, to]);
    cp("in", "one:/srv").ok();
    cp("in", "one:/srv").ok();
    cp("in/.", "one:/srv").ok();
    cp("in/sub/f", "one:root").ok();
    let found = machine.sh("$0 --root store cp one:/srv - | tar tvf - | awk '{print $2, $NF}'"
        .replace("$0", &host::strata().display().to_string())
        .as_str());
    let expected =
        "7/8 srv/\n7/8 srv/in/\n7/8 sub\n7/8 srv/in/sub/\n7/8 srv/in/sub/f\n7/8 sub\n7/8 srv/sub/\n7/8 srv/sub/f\n";
    assert_eq!(found.ok(), expected);
    cp("one:/root/new", "out").ok();
    cp("one:/a/link", ".").ok();
    machine.strata(["cp", "-L", "one:/a/link", "followed"]).ok();
    assert_eq!(
        machine.sh("cat out; stat -c '%U %F' out link followed").ok(),
        "new\nroot regular file\nroot symbolic link\nroot regular file\n"
    );
    assert_eq!(cp("one:/nosuch", ".").fails(1), "strata: Could not find the file /nosuch in container one\n");
    assert_eq!(cp("out", "one:/no/dir/").fails(1), "strata: no such directory\n");
    assert_eq!(cp("in", "one:/etc/passwd").fails(1), "strata: cannot copy directory\n");
    assert_eq!(cp("one:/a", "one:/b").fails(1), "strata: copying between containers is not supported\n");
    assert_eq!(cp("one:", ".").fails(1), "strata: bad parameter: path cannot be empty\n");
    assert_eq!(cp("a", "b").fails(1), "strata: must specify at least one container source\n");
    let nosuch = cp("nosuch", "one:/").fails(1);
    assert!(nosuch.ends_with("nosuch: no such file or directory\n"), "{nosuch}");
}

#[test]
fn a_running_container_is_copied_from_and_to() {
    need_all!();
    let machine = machine();
    machine.strata(["run", "-d", "--name", "two", "--network", "none", "base", "sleep", "1000"]).ok();
    machine.sh("echo 1 > f").ok();
    machine.strata(["cp", "f", "two:/tmp/f"]).ok();
    assert_eq!(machine.strata(["exec", "two", "cat", "/tmp/f"]).ok(), "1\n");
    machine.strata(["exec", "two", "sh", "-c", "echo 2 > /tmp/g"]).ok();
    machine.strata(["cp", "two:/tmp/g", "."]).ok();
    assert_eq!(machine.sh("cat g").ok(), "2\n");
    for (from, to) in [("two:/", "all"), ("two:/.", "contents")] {
        machine.strata(["cp", from, to]).ok();
        assert_eq!(machine.sh(&format!("cat {to}/tmp/f {to}/tmp/g; ls {to}/proc")).ok(), "1\n2\n");
    }
    machine.strata(["commit", "two", "live"]).ok();
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "live", "cat", "/tmp/f", "/tmp/g"]).ok(), "1\n2\n");
    machine.strata(["rm", "-f", "two"]).ok();
}

#[test]
fn an_export_imports_again() {
    need_all!();
    let machine = machine();
    machine.strata(["export", "-o", "root.tar", "one"]).ok();
    machine.strata(["import", "-c", r#"CMD ["cat", "/root/new"]"#, "root.tar", "flat"]).ok();
    assert_eq!(machine.strata(["run", "--rm", "--network", "none", "flat"]).ok(), "new\n");
    assert_eq!(machine.strata(["history", "-q", "flat"]).ok().lines().count(), 1);
}

/// More layers than overlayfs takes.
#[test]
fn an_image_of_six_hundred_layers_is_like_any_other() {
    need_all!();
    let machine = Machine::start();
    let layer = |number: usize, image: Image| {
        let text = format!("{number}\n");
        let tar = Tar::new().file("etc/number", 0o644, text.as_bytes()).file(&format!("n/{number}"), 0o644, b"");
        image.layer(tar.finish(), Compression::Plain)
    };
    let image = (1..600).fold(Image::busybox(), |image, number| layer(number, image));
    machine.strata_with_input(["load", "-q"], &image.docker_archive("deep:latest")).ok();
    let run = |image: &str, script: &str| {
        machine.strata(["run", "--network", "none", "--name", "one", image, "sh", "-c", script]).ok()
    };
    assert_eq!(run("deep", "cat /etc/number; ls /n | wc -l; rm /n/5; echo new > /n/new"), "599\n599\n");
    let diff = machine.strata(["diff", "one"]).ok();
    assert_eq!(diff.lines().collect::<std::collections::BTreeSet<_>>(), ["A /n/new", "C /n", "D /n/5"].into());
    machine.strata(["commit", "one", "deeper"]).ok();
    machine.strata(["rm", "one"]).ok();
    assert_eq!(run("deeper", "ls /n | wc -l; cat /n/new; ls /n/5 2>&1 | wc -l"), "599\nnew\n1\n");
    machine.strata(["rm", "one"]).ok();
    assert_eq!(machine.strata(["inspect", "-f", "{{len .RootFS.Layers}}", "deeper"]).ok(), "601\n");
    machine.strata(["check"]).ok();
    // Runs of layers go with them.
    machine.strata(["rmi", "deep", "deeper"]).ok();
    assert_eq!(machine.sh(&format!("ls {}/layers/*-derived", machine.root().display())).ok(), "");
}
