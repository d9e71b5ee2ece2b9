//! Room on the disk, and what removing costs.

use std::collections::BTreeMap;

use crate::bench::Bench;
use crate::bench::arena::REGISTRY;
use crate::bench::images;
use crate::bench::measure::{Entry, interleaved};
use crate::bench::report::{Cost, Table, Target};
use crate::shell::Done;

/// An image of 25,000 small files goes.
pub(super) fn remove(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let tar = arena.dir().join("many.tar");
    let tree = arena.dir().join("many");
    arena.setup(&format!(
        "mkdir -p {0}; cd {0}; perl -e 'for $d (0..249){{mkdir $d; for $f (0..99){{open F,qq(>$d/$f); print F qq($d $f\\n) x 200; close F}}}}'; \
         tar -cf {1} . && cd / && rm -rf {0}",
        tree.display(),
        tar.display()
    ))?;
    let entry = |engine: &crate::bench::engine::Engine| {
        let command = &engine.command;
        Entry::new(engine.name, format!("{command} rmi bench-many"))
            .before(format!("{command} import {} bench-many", tar.display()))
    };
    let entries: Vec<Entry> = bench.docker_like().map(entry).collect();
    let timings = interleaved(arena, bench.rounds(0, 5), &entries);
    arena.setup(&format!("rm -f {}", tar.display()))?;
    let timings = timings?;
    let targets = vec![timings.target(Cost::Wall, 0.05, &["docker"])];
    let note = "`rmi` of an image that was just imported: one layer of 25,000 files.".to_owned();
    Ok(Table { title: "Remove an image of 25,000 files", note, body: timings.markdown(), targets })
}

/// A pull right after much was removed. Ext4 without a journal passes over inodes that were removed in the last minute, one by one.
pub(super) fn after_removal(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let (image, place) = (arena.dir().join("bare.img"), arena.dir().join("bare"));
    let (image, place) = (image.display(), place.display());
    let fresh = format!(
        "mkdir -p {place}; umount {place} 2>/dev/null; rm -f {image}; truncate -s 12G {image} && \
         mkfs.ext4 -q -F -O ^has_journal {image} && mount -o loop {image} {place}"
    );
    let litter = format!(
        "mkdir {place}/litter && cd {place}/litter && \
         perl -e 'for $d (0..999){{mkdir $d; for $f (0..99){{open F,qq(>$d/$f); print F $f; close F}}}}' && \
         sync -f . && cd / && rm -rf {place}/litter && sync -f {place}"
    );
    let mut entries = Vec::new();
    for (name, driver) in [("", "erofs"), (", driver overlay", "overlay")] {
        let pull = format!(
            "{} --root {place}/store --storage-driver {driver} pull -q {REGISTRY}/golang:latest",
            bench.program.display()
        );
        entries
            .push(Entry::new(&format!("after 100,000 removals{name}"), &*pull).before(format!("{fresh} && {litter}")));
        entries.push(Entry::new(&format!("on a fresh store{name}"), pull).before(&*fresh));
    }
    let timings = interleaved(arena, bench.rounds(0, 7), &entries);
    arena.setup(&format!("umount {place}; rm -f {image}"))?;
    let timings = timings?;
    let targets = vec![timings.target(Cost::Wall, 1.1, &["on a fresh store"])];
    let note = "The image of the cold pull, into a store on an ext4 without a journal made for it: right after 100,000 files of it were \
                removed, and without. The driver `overlay` keeps a file for each file, as directory-based engines do."
        .to_owned();
    Ok(Table { title: "Pull after removals", note, body: timings.markdown(), targets })
}

/// How much fifty images take that differ in a few files, beside one of them.
pub(super) fn fifty(bench: &Bench) -> Done<Table> {
    const IMAGES: usize = 50;
    let arena = &bench.arena;
    let store = arena.store("fifty");
    let strata = format!("{} --root {}", bench.program.display(), store.display());
    let used = || bytes(bench, &store.display().to_string());
    arena.setup(&format!("{strata} pull -q {REGISTRY}/tomcat:latest"))?;
    let one = used()?;
    let change = "for f in motd hostname issue; do echo $1 >/etc/$f; done; head -c 20000 /dev/urandom >/opt/new";
    arena.setup(&format!(
        "set -e; for i in $(seq {IMAGES}); do {strata} run --name bench-c --network none {REGISTRY}/tomcat sh -c '{change}' sh $i; \
         {strata} commit bench-c on-one-base:$i; {strata} rm bench-c; done"
    ))?;
    let layered = used()?;
    // The same fifty, each a single layer of its own: nothing is shared but what the driver finds to be the same.
    let squashed = arena.store("fifty-squashed");
    let other = format!("{} --root {}", bench.program.display(), squashed.display());
    let export = |number: usize| {
        format!(
            "{strata} create --name bench-c on-one-base:{number}; {strata} export bench-c | {other} import - squashed:{number}; {strata} rm bench-c"
        )
    };
    arena.setup(&format!("set -e; {}", export(1)))?;
    let squashed_one = bytes(bench, &squashed.display().to_string())?;
    for number in 2..=IMAGES {
        arena.setup(&format!("set -e; {}", export(number)))?;
    }
    let squashed_all = bytes(bench, &squashed.display().to_string())?;
    arena.setup(&format!("rm -rf {} {}", store.display(), squashed.display()))?;
    let mb = |bytes: f64| format!("{:.0} MB", bytes / 1e6);
    let body = format!(
        "| | one | fifty | ratio |\n|---|---|---|---|\n| on one base | {} | {} | {:.2} |\n| each one layer | {} | {} | {:.2} |\n",
        mb(one),
        mb(layered),
        layered / one,
        mb(squashed_one),
        mb(squashed_all),
        squashed_all / squashed_one
    );
    let target = |what: &str, of: f64, to: f64| Target { what: what.to_owned(), at_most: 1.1, measured: Some(of / to) };
    let targets = vec![
        target("room of those on one base ÷ that of one", layered, one),
        target("room of those of one layer each ÷ that of one", squashed_all, squashed_one),
    ];
    let note = "Fifty images made of the tomcat image, each with three files changed and one of 20 kB added: as commits on it, and each \
                exported and imported as a single layer. Of the latter, each has an index of its own and the runs of small files in which something differs; the index is compressed until the image is first run."
        .to_owned();
    Ok(Table { title: "Fifty images that differ in a few files", note, body, targets })
}

/// What the whole corpus takes in each store.
pub(super) fn corpus(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let mut used = BTreeMap::new();
    for engine in bench.docker_like() {
        arena.setup(&engine.forget_images())?;
        let (command, store) = match engine.name {
            "strata" => {
                let store = arena.store("corpus").display().to_string();
                (format!("{} --root {store}", bench.program.display()), store)
            }
            name => (engine.command.clone(), arena.store(name).display().to_string()),
        };
        let before = if engine.name == "strata" { 0.0 } else { room_of_nothing(bench, &store)?.0 };
        for name in images::names() {
            arena.setup(&crate::bench::engine::Engine { command: command.clone(), ..engine.clone() }.pull(name))?;
        }
        let inodes = arena.setup(&format!("du -s --inodes {store} | cut -f1"))?;
        used.insert(engine.name, (bytes(bench, &store)? - before, inodes.trim().to_owned()));
        arena.setup(&engine.forget_images())?;
    }
    arena.setup(&format!("rm -rf {}", arena.store("corpus").display()))?;
    let mut body = String::from("| | on the disk | files and directories |\n|---|---|---|\n");
    for engine in bench.docker_like() {
        let (bytes, inodes) = &used[engine.name];
        body.push_str(&format!("| {} | {:.0} MB | {inodes} |\n", engine.name, bytes / 1e6));
    }
    let measured = used.get("docker").map(|docker| used["strata"].0 / docker.0);
    let targets = vec![Target { what: "room ÷ that of docker's overlay2".to_owned(), at_most: 0.72, measured }];
    let note = format!(
        "All images of the bench in one store: {}. Two bases are one release before and after its security updates, and what stands \
         on them installs the same packages in another order.",
        images::names().collect::<Vec<_>>().join(", ")
    );
    Ok(Table { title: "Room of the corpus", note, body, targets })
}

/// What a directory takes on the disk.
fn bytes(bench: &Bench, path: &str) -> Done<f64> {
    room(bench, path).map(|(bytes, _)| bytes)
}

/// Bytes and inodes of a directory on the disk.
pub(super) fn room(bench: &Bench, path: &str) -> Done<(f64, f64)> {
    let said = bench.arena.setup(&format!(
        "sync -f {path}; du -s --block-size=1 {path} 2>/dev/null | cut -f1; du -s --inodes {path} 2>/dev/null | cut -f1"
    ))?;
    let numbers: Vec<f64> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
    match numbers[..] {
        [bytes, inodes] => Ok((bytes, inodes)),
        _ => Err(format!("du says `{}`", said.trim())),
    }
}

/// The same of a store without images. What earlier rows left there would be missing in what this one finds.
pub(super) fn room_of_nothing(bench: &Bench, path: &str) -> Done<(f64, f64)> {
    /// Databases and their logs; no layer of the bench's images is as small.
    const EMPTY_BYTES_MAX: f64 = 50e6;
    match room(bench, path)? {
        (bytes, _) if bytes > EMPTY_BYTES_MAX => {
            Err(format!("{path} has {:.0} MB of something before anything is pulled", bytes / 1e6))
        }
        room => Ok(room),
    }
}
