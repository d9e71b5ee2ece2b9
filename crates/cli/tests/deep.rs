//! Images of one layer and of a thousand: pulled, run, committed and pushed, with every driver that can.
#![allow(clippy::unwrap_used, reason = "tests")]

use strata_testkit::image::{Compression, Image};
use strata_testkit::registry::Registry;
use strata_testkit::tar::Tar;
use strata_testkit::{Machine, host, need};

/// How deep images are. Docker's overlay2 ends at 128, and so do most engines' tests.
const DEPTHS: [usize; 5] = [1, 14, 120, 500, 1000];

/// A shell, and on top of it layers each of which adds a file, changes one that all change, and removes what the one five
/// below added if its number says so.
fn image(depth: usize) -> Image {
    let program = std::fs::read(host::find_program("busybox").unwrap()).unwrap();
    let mut base = Tar::new().dir("bin/").file("bin/busybox", 0o755, &program);
    for applet in ["sh", "cat", "ls", "wc", "rm"] {
        base = base.hardlink(&format!("bin/{applet}"), "bin/busybox");
    }
    let base = base.dir("d/").file("top", 0o644, b"0").finish();
    (1..depth).fold(Image::new().layer(base, Compression::Gzip), |image, number| {
        let mut layer = Tar::new().dir("d/").file(&format!("d/{number}"), 0o644, number.to_string().as_bytes());
        if number > 5 && number.is_multiple_of(5) {
            layer = layer.file(&format!("d/.wh.{}", number - 5), 0o644, b"");
        }
        image.layer(layer.file("top", 0o644, number.to_string().as_bytes()).finish(), Compression::Gzip)
    })
}

/// How many files such an image shows in `/d`.
fn files(depth: usize) -> usize {
    (1..depth).filter(|number| !(number.is_multiple_of(5) && number + 5 < depth)).count()
}

/// Pulls, runs, commits and pushes an image of that depth.
fn whole_way(machine: &Machine, registry: &Registry, driver: &str, depth: usize) {
    let name = format!("{}/deep:{depth}", registry.host());
    let strata = |words: &[&str]| machine.strata([&["--storage-driver", driver], words].concat());
    let run = |image: &str, words: &[&str]| strata(&[&["run", "--rm", "--network", "none", image], words].concat());
    strata(&["pull", "-q", &name]).ok();
    let script = "cat /top; echo; ls /d | wc -l";
    let expected = format!("{}\n{}\n", depth - 1, files(depth));
    assert_eq!(run(&name, &["sh", "-c", script]).ok(), expected, "{driver}, {depth}");
    // A chain of commits on top of it.
    let mut below = name;
    for number in 0..3 {
        let (container, made) = (format!("c{number}"), format!("{}/made-{driver}:{depth}.{number}", registry.host()));
        let change = format!("echo {number} > /d/new{number}; rm /top; echo {number} > /top");
        strata(&["run", "--name", &container, "--network", "none", &below, "sh", "-c", &change]).ok();
        let diff = strata(&["diff", &container]).ok();
        assert_eq!(diff, format!("C /d\nA /d/new{number}\nC /top\n"), "{driver}, {depth}");
        strata(&["commit", &container, &made]).ok();
        strata(&["rm", &container]).ok();
        below = made;
    }
    strata(&["push", "-q", &below]).ok();
    let count = ["inspect", "--format", "{{len .RootFS.Layers}}"];
    assert_eq!(strata(&[&count, &[below.as_str()][..]].concat()).ok(), format!("{}\n", depth + 3));
    // Somebody else gets the same from the registry.
    let mut skopeo = machine.command("skopeo");
    skopeo.args(["inspect", "--tls-verify=false", "--format", "{{len .Layers}}", &format!("docker://{below}")]);
    let inspected: strata_testkit::machine::Ran = skopeo.output().unwrap().into();
    assert_eq!(inspected.ok(), format!("{}\n", depth + 3));
    strata(&["rmi", &below]).ok();
    strata(&["pull", "-q", &below]).ok();
    let expected = format!("2\n\n{}\n", files(depth) + 3);
    assert_eq!(run(&below, &["sh", "-c", script]).ok(), expected, "{driver}, {depth}");
    strata(&["system", "prune", "-af"]).ok();
}

/// A registry that has them all.
fn registry() -> Registry {
    let (registry, publisher) = (Registry::start(), Machine::start());
    for depth in DEPTHS {
        let name = format!("{}/deep:{depth}", registry.host());
        publisher.strata_with_input(["load", "-q"], &image(depth).docker_archive(&name)).ok();
        publisher.strata(["push", "-q", &name]).ok();
    }
    registry
}

#[test]
fn images_of_a_thousand_layers_are_images_like_others() {
    need!(host::root(), host::filesystem("erofs"));
    need!(host::program("docker-registry"), host::program("skopeo"), host::program("busybox"));
    let registry = registry();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let machine = Machine::start();
            DEPTHS.iter().for_each(|depth| whole_way(&machine, &registry, "erofs", *depth));
            machine.strata(["check"]).ok();
        });
        scope.spawn(|| {
            let machine = Machine::start();
            DEPTHS[..3].iter().for_each(|depth| whole_way(&machine, &registry, "overlay", *depth));
            // More than overlayfs stacks: it is said before anything runs.
            let name = format!("{}/deep:500", registry.host());
            let refused = machine.strata(["--storage-driver", "overlay", "run", "--rm", &name, "true"]).fails(125);
            assert!(refused.contains("490"), "{refused}");
        });
        scope.spawn(|| {
            // Every layer of it is a copy of all below: the deeper ones would only fill the disk.
            let machine = Machine::start();
            DEPTHS[..2].iter().for_each(|depth| whole_way(&machine, &registry, "vfs", *depth));
        });
        scope.spawn(|| {
            let machine = Machine::start();
            let disk = "truncate -s 4G disk && mkfs.btrfs -q disk && mkdir store && mount -o loop disk store";
            if machine.sh(disk).code != 0 {
                return host::skipped(module_path!(), "the filesystem `btrfs` on a loop device");
            }
            // Each layer is a snapshot of the one below, made after it: the deeper ones only take longer.
            DEPTHS[..3].iter().for_each(|depth| whole_way(&machine, &registry, "btrfs", *depth));
        });
    });
}
