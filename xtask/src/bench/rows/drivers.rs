//! Every storage driver that works here, beside docker's overlay2.

use crate::bench::Bench;
use crate::bench::arena::REGISTRY;
use crate::bench::measure::{Entry, Took, median, once};
use crate::bench::report::Table;
use crate::bench::rows::space::{room, room_of_nothing};
use crate::shell::Done;

/// What is measured of each, in this order.
const ACTS: [&str; 8] = ["pull", "start", "walk, cold", "walk, warm", "copy-up", "commit", "remove", "disk and inodes"];
const ROUNDS: usize = 3;

/// One driver, with a store of its own.
struct Contender {
    name: String,
    /// The program with its options.
    command: String,
    /// What it keeps lies here.
    store: String,
}

pub(super) fn measure(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let mut contenders = Vec::new();
    let mut missing = Vec::new();
    let listed =
        arena.setup(&format!("{} --root {} info", bench.program.display(), arena.store("drivers").display()))?;
    // ` NAME: works here`, or why not.
    let drivers = listed.lines().skip_while(|line| !line.starts_with("Storage Driver")).skip(1);
    let drivers = drivers.take_while(|line| line.starts_with(' ')).filter_map(|line| line.trim().split_once(": "));
    for (name, state) in drivers.filter(|(name, _)| name.chars().all(|letter| letter.is_ascii_lowercase())) {
        let store = arena.store(&format!("driver-{name}")).display().to_string();
        let mut place = format!("mkdir -p {store}");
        if name == "btrfs" {
            place += &format!(
                "; truncate -s 12G {store}.img && mkfs.btrfs -q {store}.img && mount -o loop {store}.img {store}"
            );
        }
        let command = format!("{} --root {store} --storage-driver {name}", bench.program.display());
        match arena.setup(&format!("{place}; {command} info >/dev/null")) {
            Ok(_) => contenders.push(Contender { name: name.to_owned(), command, store }),
            Err(_) => missing.push(format!("{name} ({state})")),
        }
    }
    if let Some(docker) = bench.engines.iter().find(|engine| engine.name == "docker") {
        arena.setup(&docker.forget_images())?;
        let store = format!("{}/overlay2", arena.store("docker").display());
        contenders.push(Contender { name: "docker's overlay2".to_owned(), command: docker.command.clone(), store });
    }
    let mut body = format!("| | {} |\n|{}\n", ACTS.join(" | "), "---|".repeat(ACTS.len() + 1));
    for contender in &contenders {
        body.push_str(&format!("| {} |{}\n", contender.name, line(bench, contender)?));
        if contender.name != "docker's overlay2" {
            let store = &contender.store;
            arena.setup(&format!("umount {store} 2>/dev/null; rm -rf {store} {store}.img"))?;
        }
    }
    let note = format!(
        "The tomcat image, wall time (CPU), median of {ROUNDS}: `pull`, `run --rm true`, `find / -xdev -ls` in a container with empty caches and \
         again, a byte appended to the image's largest file, `commit` of that, `rmi` of all. `btrfs` lies on a btrfs, the others on an ext4. \
         Not here: {}.",
        if missing.is_empty() { "none".to_owned() } else { missing.join("; ") }
    );
    Ok(Table { title: "Storage drivers", note, body, targets: Vec::new() })
}

/// One contender's cells.
fn line(bench: &Bench, contender: &Contender) -> Done<String> {
    let arena = &bench.arena;
    let Contender { command, store, .. } = contender;
    let image = format!("{REGISTRY}/tomcat:latest");
    let run = format!("{command} run --rm --network none {image}");
    let before = room_of_nothing(bench, store)?;
    let cold = "sync; echo 3 >/proc/sys/vm/drop_caches";
    let largest = "set -- $(find /usr -xdev -type f -printf \"%s %p\\n\" | sort -n | tail -1); echo >>$2";
    let steps = [
        Entry::new("pull", format!("{command} pull -q {image}")),
        Entry::new("start", format!("{run} true")),
        Entry::new("walk", format!("{run} find / -xdev -ls >/dev/null")).before(cold),
        Entry::new("walk", format!("{run} find / -xdev -ls >/dev/null")),
        Entry::new("copy-up", format!("{command} run --name bench-c --network none {image} sh -c '{largest}'")),
        Entry::new("commit", format!("{command} commit bench-c bench-driver")),
    ];
    let mut tooks: Vec<Vec<Took>> = (0..=steps.len()).map(|_| Vec::new()).collect();
    let mut taken = (0.0, 0.0);
    for _ in 0..bench.rounds(0, ROUNDS).measured {
        for (tooks, step) in tooks.iter_mut().zip(&steps) {
            tooks.push(once(arena, step)?);
            if step.name == "pull" {
                let after = room(bench, store)?;
                taken = (after.0 - before.0, after.1 - before.1);
            }
        }
        arena.setup(&format!("{command} rm -f bench-c"))?;
        let removal = Entry::new("remove", format!("{command} rmi bench-driver {image}"));
        tooks.last_mut().ok_or("no step")?.push(once(arena, &removal)?);
    }
    let cell = |tooks: &Vec<Took>| {
        let of = |cost: fn(&Took) -> f64| median(&tooks.iter().map(cost).collect::<Vec<_>>()) * 1e3;
        format!(" {:.0} ms ({:.0}) |", of(|took| took.wall_s), of(|took| took.cpu_s))
    };
    let cells: String = tooks.iter().map(cell).collect();
    Ok(format!("{cells} {:.0} MB, {:.0} |", taken.0 / 1e6, taken.1))
}
